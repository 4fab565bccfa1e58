//! Peers who take a connection and give little for it: so many idle ones, kept alive after a first answer, and so many
//! that send a byte a second of a request that they never finish. A process of its own, with one thread.

use std::cell::Cell;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::wire::Messages;

/// Who holds what.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct HoldArgs {
    #[arg(long)]
    target: SocketAddr,
    /// Connections that idle after their first answer.
    #[arg(long)]
    idle: u32,
    /// Connections that send a byte a second.
    #[arg(long)]
    slow: u32,
}

/// Connections that are being made at once: more would only queue at the kernel.
const AT_ONCE: u32 = 64;

/// Takes all of them, says so with a line, and holds them until it is killed. One that is closed is taken again.
pub(super) async fn run(args: HoldArgs) -> io::Result<()> {
    let held = Rc::new(Cell::new(0));
    for n in 0..args.idle + args.slow {
        while n.saturating_sub(held.get()) > AT_ONCE {
            sleep(Duration::from_millis(1)).await;
        }
        let (held, target, is_idle) = (held.clone(), args.target, n < args.idle);
        tokio::task::spawn_local(async move {
            let mut held = Some(held);
            loop {
                let ended = if is_idle { idle(target, &mut held).await } else { slow(target, &mut held).await };
                if let Err(error) = ended {
                    eprintln!("hold: {error}");
                    sleep(Duration::from_secs(1)).await;
                }
            }
        });
    }
    while held.get() < args.idle + args.slow {
        sleep(Duration::from_millis(1)).await;
    }
    println!("{}", args.target);
    io::stdout().flush()?;
    std::future::pending().await
}

/// Counts a connection once, however often it is taken again.
fn is_held(held: &mut Option<Rc<Cell<u32>>>) {
    if let Some(held) = held.take() {
        held.set(held.get() + 1);
    }
}

async fn idle(target: SocketAddr, held: &mut Option<Rc<Cell<u32>>>) -> io::Result<()> {
    let mut stream = TcpStream::connect(target).await?;
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: hold\r\n\r\n").await?;
    let mut answers = Messages::new(stream);
    if answers.next().await?.is_some() {
        is_held(held);
        answers.next().await?;
    }
    Ok(())
}

async fn slow(target: SocketAddr, held: &mut Option<Rc<Cell<u32>>>) -> io::Result<()> {
    let mut stream = TcpStream::connect(target).await?;
    is_held(held);
    for byte in b"POST /v1/events HTTP/1.1\r\nHost: hold\r\nX-Slow: ".iter().chain(std::iter::repeat(&b'x')) {
        if stream.write_all(&[*byte]).await.is_err() {
            return Ok(());
        }
        sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}
