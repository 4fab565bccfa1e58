//! A resolver of names that answers as a row wants it. It needs root: resolvers are asked at port 53.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// The host has this address.
    Is(Ipv4Addr),
    /// There is no such host (NXDOMAIN).
    IsNone,
    /// The resolver cannot say (SERVFAIL).
    Fails,
    /// The resolver says nothing.
    Silent,
}

pub(crate) struct Resolver {
    pub(crate) address: Ipv4Addr,
    says: Arc<Mutex<(Name, usize)>>,
    serving: JoinHandle<()>,
}

impl Resolver {
    pub(crate) async fn start(address: Ipv4Addr, name: Name) -> Self {
        let socket = UdpSocket::bind(SocketAddr::from((address, 53))).await;
        let socket = socket.unwrap_or_else(|error| panic!("the row needs root, for port 53 of {address}: {error}"));
        let says = Arc::new(Mutex::new((name, 0)));
        let saying = says.clone();
        let serving = tokio::spawn(async move {
            let mut query = [0; 512];
            loop {
                let (length, from) = socket.recv_from(&mut query).await.unwrap();
                let name = {
                    let mut saying = saying.lock().unwrap();
                    saying.1 += 1;
                    saying.0
                };
                if let Some(answer) = answer(&query[..length], name) {
                    let _it_left = socket.send_to(&answer, from).await;
                }
            }
        });
        Self { address, says, serving }
    }

    pub(crate) fn say(&self, name: Name) {
        self.says.lock().unwrap().0 = name;
    }

    /// How often it was asked so far.
    pub(crate) fn asked(&self) -> usize {
        self.says.lock().unwrap().1
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

const HEAD: usize = 12;
const TYPE_A: &[u8] = &[0, 1];

/// RFC 1035, section 4: the query's head and question again, and the address where one is asked for.
fn answer(query: &[u8], name: Name) -> Option<Vec<u8>> {
    let end = HEAD + query.get(HEAD..)?.iter().position(|byte| *byte == 0)? + 1;
    let asks_for_address = query.get(end..end + 2)? == TYPE_A;
    let (code, address) = match name {
        Name::Is(address) => (0, asks_for_address.then_some(address)),
        Name::IsNone => (3, None),
        Name::Fails => (2, None),
        Name::Silent => return None,
    };
    let count = u8::from(address.is_some());
    let mut answer = query[..2].to_vec();
    answer.extend([0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]);
    answer.extend(query.get(HEAD..end + 4)?);
    if let Some(address) = address {
        // The name of the question, an address of the internet, to be kept for no time.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}
