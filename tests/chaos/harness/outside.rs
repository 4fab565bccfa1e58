//! The process that is Twilio and the wires, as the rows see it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::outside::orders::{Gate, Happening, Kind, Line, Order, Place, Presents, Rule, Then, Weather};

/// An answer of the world outside takes no time. Reached only when it has died.
const PATIENCE: Duration = Duration::from_secs(20);

type Answer = Result<Option<SocketAddr>, String>;

pub(crate) struct Outside {
    orders: tokio::sync::Mutex<(ChildStdin, mpsc::UnboundedReceiver<Answer>)>,
    happened: Arc<Mutex<Vec<Happening>>>,
    more: watch::Receiver<()>,
    _process: Child,
}

impl Outside {
    pub(crate) fn start(folder: &Path, account_sid: &str, authorization: &str, seed: u64) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["outside", account_sid, authorization, &seed.to_string()]).arg(folder);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let (orders, said) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let (answers, answered) = mpsc::unbounded_channel();
        let (tell, more) = watch::channel(());
        let happened: Arc<Mutex<Vec<Happening>>> = Arc::default();
        let happening = happened.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(said).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                match serde_json::from_str(&line).unwrap() {
                    Line::Answer(answer) => drop(answers.send(answer)),
                    Line::Happened(what) => {
                        happening.lock().unwrap().push(what);
                        tell.send_replace(());
                    }
                }
            }
        });
        Self { orders: tokio::sync::Mutex::new((orders, answered)), happened, more, _process: process }
    }

    async fn order(&self, order: Order) -> Option<SocketAddr> {
        let mut orders = self.orders.lock().await;
        let line = serde_json::to_string(&order).unwrap() + "\n";
        orders.0.write_all(line.as_bytes()).await.expect("the world outside lives");
        let answer = timeout(PATIENCE, orders.1.recv()).await.expect("the world outside answers");
        answer.expect("the world outside lives").unwrap_or_else(|error| panic!("{order:?}: {error}"))
    }

    /// Twilio's port for a replica, behind a wire.
    pub(crate) async fn open_twilio(&self, by: &str) -> SocketAddr {
        let twilio = self.order(Order::OpenTwilio { by: by.to_owned() }).await.unwrap();
        self.open_wire(&format!("twilio-{by}"), twilio, Kind::Http).await
    }

    pub(crate) async fn open_wire(&self, name: &str, to: SocketAddr, kind: Kind) -> SocketAddr {
        self.order(Order::OpenWire { name: name.to_owned(), at: None, to, kind }).await.unwrap()
    }

    /// Another way to Twilio, at an address that was chosen.
    pub(crate) async fn open_way(&self, name: &str, at: SocketAddr, to: SocketAddr) {
        let order = Order::OpenWire { name: name.to_owned(), at: Some(at), to, kind: Kind::Http };
        self.order(order).await.unwrap();
    }

    /// A port that speaks TLS as it is told, and leads there.
    pub(crate) async fn open_tls(&self, name: &str, to: SocketAddr) -> SocketAddr {
        self.order(Order::OpenTls { name: name.to_owned(), to }).await.unwrap()
    }

    /// From now on this port speaks TLS like this; whoever is connected stays so.
    pub(crate) async fn present(&self, name: &str, presents: Presents) {
        self.order(Order::Present { name: name.to_owned(), presents }).await;
    }

    pub(crate) async fn weather(&self, name: &str, weather: Weather) {
        self.order(Order::Weather { name: name.to_owned(), weather }).await;
    }

    /// From now on this wire leads there.
    pub(crate) async fn lead(&self, name: &str, to: SocketAddr) {
        self.order(Order::Lead { name: name.to_owned(), to }).await;
    }

    pub(crate) async fn cut(&self, name: &str) {
        self.order(Order::Cut { name: name.to_owned() }).await;
    }

    pub(crate) async fn gate(&self, name: &str, place: Place, then: Then, times: u32, chance: f64) {
        self.order(Order::Gate { name: name.to_owned(), gate: Gate { place, then, times, chance } }).await;
    }

    pub(crate) async fn open_gate(&self, name: &str) {
        self.order(Order::OpenGate { name: name.to_owned() }).await;
    }

    pub(crate) async fn play(&self, rule: Rule) {
        self.order(Order::Play(rule)).await;
    }

    pub(crate) async fn behave(&self) {
        self.order(Order::Behave).await;
    }

    pub(crate) async fn credentials(&self, authorization: String) {
        self.order(Order::Credentials { authorization }).await;
    }

    /// How often this has happened so far.
    pub(crate) fn times(&self, what: &Happening) -> usize {
        self.happened.lock().unwrap().iter().filter(|happened| *happened == what).count()
    }

    /// Waits until it has happened so often; whether it did in time.
    pub(crate) async fn happens(&self, what: &Happening, times: usize, limit: Duration) -> bool {
        let mut more = self.more.clone();
        let happens = async {
            while self.times(what) < times {
                more.changed().await.expect("the world outside lives");
            }
        };
        timeout(limit, happens).await.is_ok()
    }
}
