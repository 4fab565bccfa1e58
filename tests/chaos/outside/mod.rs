//! The world outside confirmd, in a process of its own: Twilio, and the wires to it and to Postgres.
//!
//! It shares no code with confirmd, so that its ledger is an independent witness. The rows give it [`orders`] on its
//! standard input, one a line; it answers each on its standard output, and tells there what happened meanwhile. It ends
//! with its input, however the process that gives the orders ends.

mod ledger; // what Twilio heard and said, append-only
pub(crate) mod orders; // what the rows may ask for
mod postgres_wire; // which statement is under way
mod proxy; // a wire that can be slow, silent, cut or held
mod tls; // a port that speaks TLS, rightly or wrongly
mod request; // what a client said, to its last byte
mod twilio; // Twilio, down to the single byte

use std::collections::HashMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::mpsc;

pub(crate) use self::ledger::Entry;
use self::ledger::Ledger;
use self::orders::{Happening, Line, Order, Rule};
use self::proxy::Proxy;
use self::tls::Tls;

/// What all connections share.
pub(crate) struct Outside {
    ledger: Ledger,
    account_sid: String,
    /// The `Authorization` header that opens the account.
    authorization: Mutex<String>,
    rules: Mutex<Vec<Rule>>,
    /// Messages whose feedback Twilio has taken.
    taken: Mutex<HashMap<String, u64>>,
    dice: Mutex<StdRng>,
}

impl Outside {
    fn roll(&self, chance: f64) -> bool {
        1.0 <= chance || self.dice().random_bool(chance.clamp(0.0, 1.0))
    }

    fn dice(&self) -> MutexGuard<'_, StdRng> {
        self.dice.lock().expect("no holder panics")
    }
}

/// Says something to whoever gives the orders.
fn say(line: &Line) {
    let text = serde_json::to_string(line).expect("plain data always becomes JSON");
    let mut out = std::io::stdout().lock();
    // Nobody listens any more: then the input has ended, too.
    let _ended = writeln!(out, "{text}").and_then(|()| out.flush());
}

fn happened(happening: Happening) {
    say(&Line::Happened(happening));
}

/// Runs until the input ends.
pub(crate) async fn run(folder: &Path, account_sid: String, authorization: String, seed: u64) {
    let outside = Arc::new(Outside {
        ledger: Ledger::create(&folder.join("twilio.ledger")),
        account_sid,
        authorization: Mutex::new(authorization),
        rules: Mutex::default(),
        taken: Mutex::default(),
        dice: Mutex::new(StdRng::seed_from_u64(seed)),
    });
    let mut proxies: HashMap<String, Proxy> = HashMap::new();
    let mut tls: HashMap<String, Tls> = HashMap::new();
    let (read, mut orders) = mpsc::unbounded_channel();
    std::thread::spawn(move || std::io::stdin().lines().map_while(Result::ok).try_for_each(|line| read.send(line)));
    while let Some(line) = orders.recv().await {
        let answer = match serde_json::from_str(&line) {
            Ok(Order::OpenTls { name, to }) => match Tls::open(folder.to_owned(), to).await {
                Ok(opened) => {
                    let address = opened.address;
                    tls.insert(name, opened);
                    Ok(Some(address))
                }
                Err(error) => Err(error.to_string()),
            },
            Ok(Order::Present { name, presents }) => match tls.get(&name) {
                Some(tls) => {
                    tls.present(presents);
                    Ok(None)
                }
                None => Err(format!("there is no TLS at {name}")),
            },
            Ok(order) => obey(&outside, &mut proxies, order).await,
            Err(error) => Err(format!("{line}: {error}")),
        };
        say(&Line::Answer(answer));
    }
}

async fn obey(
    outside: &Arc<Outside>,
    proxies: &mut HashMap<String, Proxy>,
    order: Order,
) -> Result<Option<SocketAddr>, String> {
    let proxy = |name: &str| proxies.get(name).ok_or_else(|| format!("there is no wire {name}"));
    match order {
        Order::OpenTwilio { by } => {
            let address = twilio::open(outside.clone(), by).await.map_err(|error| error.to_string())?;
            return Ok(Some(address));
        }
        Order::OpenWire { name, at, to, kind } => {
            let opened = Proxy::open(name.clone(), at, to, kind, outside.clone()).await;
            let opened = opened.map_err(|error| error.to_string())?;
            let address = opened.address;
            proxies.insert(name, opened);
            return Ok(Some(address));
        }
        Order::OpenTls { .. } | Order::Present { .. } => unreachable!("it is obeyed before"),
        Order::Weather { name, weather } => proxy(&name)?.set_weather(weather),
        Order::Lead { name, to } => proxy(&name)?.lead(to),
        Order::Cut { name } => proxy(&name)?.cut(),
        Order::Gate { name, gate } => proxy(&name)?.set_gate(Some(gate)),
        Order::OpenGate { name } => proxy(&name)?.set_gate(None),
        Order::Play(rule) => outside.rules.lock().expect("no holder panics").push(rule),
        Order::Behave => outside.rules.lock().expect("no holder panics").clear(),
        Order::Credentials { authorization } => {
            *outside.authorization.lock().expect("no holder panics") = authorization;
        }
    }
    Ok(None)
}
