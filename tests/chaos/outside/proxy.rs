//! A wire that can be slow, silent, cut or held, before Postgres or before Twilio.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep_until};

use super::orders::{Gate, Happening, Kind, Place, Then, Weather};
use super::postgres_wire::ClientSide;
use super::{Outside, happened};

pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    wire: Arc<Wire>,
}

struct Wire {
    name: String,
    kind: Kind,
    to: Mutex<SocketAddr>,
    weather: watch::Sender<Weather>,
    cuts: watch::Sender<u64>,
    gate: Mutex<Option<Gate>>,
    outside: Arc<Outside>,
}

/// Why one direction of a connection carries nothing more.
#[derive(PartialEq)]
enum End {
    /// Its source has ended.
    ByItself,
    /// A gate holds it: it ends, as a reset, when its source does.
    Held,
    Reset,
}

impl Proxy {
    pub(super) async fn open(
        name: String,
        at: Option<SocketAddr>,
        to: SocketAddr,
        kind: Kind,
        outside: Arc<Outside>,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(at.unwrap_or((Ipv4Addr::LOCALHOST, 0).into())).await?;
        let address = listener.local_addr()?;
        let (gate, to) = (Mutex::default(), Mutex::new(to));
        let (weather, cuts) = (watch::Sender::default(), watch::Sender::default());
        let wire = Arc::new(Wire { name, kind, to, weather, cuts, gate, outside });
        let accepting = wire.clone();
        spawn_local(async move {
            while let Ok((near, _)) = listener.accept().await {
                spawn_local(accepting.clone().connect(near));
            }
        });
        Ok(Self { address, wire })
    }

    pub(super) fn set_weather(&self, weather: Weather) {
        self.wire.weather.send_replace(weather);
    }

    pub(super) fn lead(&self, to: SocketAddr) {
        *self.wire.to.lock().expect("no holder panics") = to;
    }

    pub(super) fn cut(&self) {
        self.wire.cuts.send_modify(|cuts| *cuts += 1);
    }

    pub(super) fn set_gate(&self, gate: Option<Gate>) {
        *self.wire.gate.lock().expect("no holder panics") = gate;
    }
}

impl Wire {
    async fn connect(self: Arc<Self>, near: TcpStream) {
        happened(Happening::Connected { name: self.name.clone() });
        let refuses = self.weather.borrow().refuses;
        let to = *self.to.lock().expect("no holder panics");
        let there = if refuses { None } else { TcpStream::connect(to).await.ok() };
        let Some(there) = there else { return drop(near.set_zero_linger()) };
        let mut cuts = self.cuts.subscribe();
        cuts.mark_unchanged();
        let _small_messages = (near.set_nodelay(true), there.set_nodelay(true));
        let (mut near_reads, mut near_writes) = near.into_split();
        let (mut there_reads, mut there_writes) = there.into_split();
        // Set when the answer to come is not to be carried.
        let (withhold, withheld) = watch::channel(None);
        let reset = tokio::select! {
            reset = async {
                let up = async {
                    let end = self.carry_up(&mut near_reads, &mut there_writes, withhold).await;
                    let _closed = there_writes.shutdown().await;
                    if end == End::ByItself { Ok(()) } else { Err(end) }
                };
                let down = async {
                    let end = self.carry_down(&mut there_reads, &mut near_writes, withheld).await;
                    if end == End::ByItself { Ok(()) } else { Err(end) }
                };
                tokio::try_join!(up, down).is_err()
            } => reset,
            _ = cuts.changed() => true,
        };
        if let (true, Ok(near)) = (reset, near_reads.reunite(near_writes)) {
            let _ends_as_a_reset = near.set_zero_linger();
        }
    }

    /// From the client to the server, message by message where the wire understands them.
    async fn carry_up(
        &self,
        from: &mut OwnedReadHalf,
        to: &mut OwnedWriteHalf,
        withhold: watch::Sender<Option<Then>>,
    ) -> End {
        let mut client = ClientSide::default();
        self.carry(from, async |bytes: Vec<u8>| {
            let messages = match self.kind {
                Kind::Postgres => {
                    client.take(&bytes).into_iter().map(|message| (message.runs, message.bytes)).collect()
                }
                Kind::Http => head_and_body(bytes),
            };
            for (called, bytes) in messages {
                let called = called.unwrap_or_default();
                if let Some(then) = self.gate_at(&Place::Before(called.clone())) {
                    return self.met(then);
                }
                if let Some(then) = self.gate_at(&Place::After(called)) {
                    withhold.send_replace(Some(then));
                }
                to.write_all(&bytes).await.map_err(|_| End::ByItself)?;
            }
            Ok(())
        })
        .await
    }

    async fn carry_down(
        &self,
        from: &mut OwnedReadHalf,
        to: &mut OwnedWriteHalf,
        withheld: watch::Receiver<Option<Then>>,
    ) -> End {
        let end = self
            .carry(from, async |bytes: Vec<u8>| {
                let then = *withheld.borrow();
                match then {
                    Some(then) => self.met(then),
                    None => to.write_all(&bytes).await.map_err(|_| End::ByItself),
                }
            })
            .await;
        let _closed = to.shutdown().await;
        end
    }

    /// Reads, and hands on what was read when it has been under way long enough.
    async fn carry(&self, from: &mut OwnedReadHalf, mut hand_on: impl AsyncFnMut(Vec<u8>) -> Result<(), End>) -> End {
        let mut weather = self.weather.subscribe();
        let (under_way, mut arriving) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
        let read = async move {
            let mut bytes = vec![0; 64 << 10];
            while let Ok(length @ 1..) = from.read(&mut bytes).await {
                let delay = Duration::from_millis(self.weather.borrow().delay);
                // Nobody carries it where a gate holds.
                let _held = under_way.send((Instant::now() + delay, bytes[..length].to_vec()));
            }
        };
        let write = async move {
            while let Some((arrival, bytes)) = arriving.recv().await {
                // A timer would take a millisecond for nothing, and a transaction is a dozen messages.
                if Instant::now() < arrival {
                    sleep_until(arrival).await;
                }
                if weather.wait_for(|weather| !weather.silent).await.is_err() {
                    return End::ByItself;
                }
                if let Err(end) = hand_on(bytes).await {
                    return end;
                }
            }
            End::ByItself
        };
        tokio::pin!(read, write);
        tokio::select! {
            end = &mut write => {
                if end == End::Held {
                    read.await;
                }
                end
            }
            () = &mut read => write.await,
        }
    }

    fn gate_at(&self, place: &Place) -> Option<Then> {
        let mut gate = self.gate.lock().expect("no holder panics");
        let gate = gate.as_mut().filter(|gate| gate.place == *place && 0 < gate.times)?;
        if !self.outside.roll(gate.chance) {
            return None;
        }
        gate.times -= 1;
        Some(gate.then)
    }

    fn met(&self, then: Then) -> Result<(), End> {
        happened(Happening::Gate { name: self.name.clone() });
        match then {
            Then::Hold => Err(End::Held),
            Then::Cut => Err(End::Reset),
        }
    }
}

fn head_and_body(mut bytes: Vec<u8>) -> Vec<(Option<String>, Vec<u8>)> {
    match bytes.windows(4).position(|window| window == b"\r\n\r\n") {
        Some(end) => {
            let body = bytes.split_off(end + 4);
            vec![(Some("head".to_owned()), bytes), (Some("body".to_owned()), body)]
        }
        None => vec![(None, bytes)],
    }
}
