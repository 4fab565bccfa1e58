//! A port before Twilio that speaks TLS, rightly or wrongly.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ServerConfig};

use super::orders::Presents;

pub(super) struct Tls {
    pub(super) address: SocketAddr,
    presents: Arc<Mutex<Presents>>,
}

impl Tls {
    pub(super) async fn open(folder: PathBuf, to: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let presents = Arc::<Mutex<Presents>>::default();
        let presenting = presents.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (presents, folder) = (presenting.lock().expect("no holder panics").clone(), folder.clone());
                tokio::spawn(async move { converse(near, presents, &folder, to).await });
            }
        });
        Ok(Self { address, presents })
    }

    pub(super) fn present(&self, presents: Presents) {
        *self.presents.lock().expect("no holder panics") = presents;
    }
}

/// An alert that ends the handshake: `protocol_version`, as one says it who speaks TLS 1.1.
const OLD_VERSION: &[u8] = &[21, 3, 2, 0, 2, 2, 70];
/// A record that promises a hello of 80 bytes, and some of it.
const HALF_A_HELLO: &[u8] = &[22, 3, 3, 0, 84, 2, 0, 0, 80, 3, 3, 0, 0, 0, 0];
const NO_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";

/// Until either side leaves; that a client does, in the middle of a handshake, is what many rows are about.
async fn converse(mut near: TcpStream, presents: Presents, folder: &Path, to: SocketAddr) {
    let config = match presents {
        Presents::Certificate(name) => config(&certified(folder, &name), "localhost"),
        Presents::CertificateOfAnother(name) => config(&certified(folder, &name), "another.test"),
        Presents::OldVersion => return says(&mut near, OLD_VERSION).await,
        Presents::Half => return says(&mut near, HALF_A_HELLO).await,
        Presents::NoTls => return says(&mut near, NO_TLS).await,
    };
    let Ok(mut near) = TlsAcceptor::from(Arc::new(config)).accept(near).await else { return };
    let mut there = TcpStream::connect(to).await.expect("the wire to Twilio is there");
    let _either_left = copy_bidirectional(&mut near, &mut there).await;
}

/// Hears a hello, and says this instead of one.
async fn says(near: &mut TcpStream, bytes: &[u8]) {
    let mut hello = [0; 4096];
    if matches!(near.read(&mut hello).await, Ok(1..)) {
        let _left = near.write_all(bytes).await;
        let _left = near.shutdown().await;
    }
}

fn certified(folder: &Path, name: &str) -> CertifiedKey {
    let chain = CertificateDer::from_pem_file(folder.join(format!("{name}.pem"))).expect("the row has made it");
    let key = PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key"))).expect("the row has made it");
    let key = aws_lc_rs::sign::any_supported_type(&key).expect("it is an elliptic curve's");
    CertifiedKey::new(vec![chain], key)
}

/// Whoever names another host than this one is told that nobody of that name is here.
fn config(certified: &CertifiedKey, host: &str) -> ServerConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has these versions")
        .with_no_client_auth();
    config.with_cert_resolver(Arc::new(Always(Arc::new(certified.clone()), host.to_owned())))
}

/// Presents what it has to whoever asks for this host, whatever host it was made for.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>, String);

impl rustls::server::ResolvesServerCert for Always {
    fn resolve(&self, hello: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        (hello.server_name() == Some(self.1.as_str())).then(|| self.0.clone())
    }
}
