//! A Postgres that is far away: a proxy before the real one, with a delay each way, which can also fall silent, or be cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

pub(crate) struct Far {
    address: SocketAddr,
    silent: Arc<watch::Sender<bool>>,
    cut: Arc<watch::Sender<bool>>,
    _accepting: AbortOnDropHandle<()>,
}

impl Far {
    /// Stands before `target`, and takes `delay` to carry a byte there, or back.
    pub(crate) async fn before(target: (String, u16), delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let silent = Arc::new(watch::Sender::new(false));
        let cut = Arc::new(watch::Sender::new(false));
        let (silence, cuts) = (silent.clone(), cut.clone());
        let accepting = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (target, silence, mut cut) = (target.clone(), silence.clone(), cuts.subscribe());
                tokio::spawn(async move {
                    if *cut.borrow_and_update() {
                        return;
                    }
                    let Ok(there) = TcpStream::connect(&target).await else { return };
                    let (near_reads, near_writes) = near.into_split();
                    let (there_reads, there_writes) = there.into_split();
                    let carried = async {
                        tokio::join!(
                            carry(near_reads, there_writes, delay, silence.subscribe()),
                            carry(there_reads, near_writes, delay, silence.subscribe()),
                        )
                    };
                    tokio::select! {
                        _ = carried => {}
                        _ = cut.wait_for(|cut| *cut) => {}
                    }
                });
            }
        });
        Self { address, silent, cut, _accepting: AbortOnDropHandle::new(accepting) }
    }

    /// The same database, by way of here.
    pub(crate) fn url(&self, direct: &str) -> String {
        let mut url = reqwest::Url::parse(direct).unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(self.address.port())).unwrap();
        url.into()
    }

    /// From now on nothing is carried any more, and no connection ends.
    pub(crate) fn fall_silent(&self) {
        self.silent.send_replace(true);
    }

    /// Every connection ends, and so does each new one, until this is mended.
    pub(crate) fn is_cut(&self) {
        self.cut.send_replace(true);
    }

    pub(crate) fn is_mended(&self) {
        self.cut.send_replace(false);
    }
}

/// The host and port of a URL.
pub(crate) fn target(url: &str) -> (String, u16) {
    let url = reqwest::Url::parse(url).unwrap();
    (url.host_str().unwrap().to_owned(), url.port().unwrap_or(5432))
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    delay: Duration,
    mut silent: watch::Receiver<bool>,
) {
    let (under_way, mut arriving) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let read = async move {
        let mut bytes = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from.read(&mut bytes).await {
            if under_way.send((Instant::now() + delay, bytes[..length].to_vec())).is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((arrival, bytes)) = arriving.recv().await {
            sleep_until(arrival).await;
            if silent.wait_for(|silent| !silent).await.is_err() || to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ended = to.shutdown().await;
    };
    tokio::join!(read, write);
}
