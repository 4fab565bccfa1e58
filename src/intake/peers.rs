//! How many connections one peer may have open, so that none can take all seats of the listener.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

/// The connections of each peer. Bounded by the listener's seats: who has none is not in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Peers(Arc<Mutex<HashMap<IpAddr, usize>>>);

impl Peers {
    /// A seat for one more connection of this peer, unless it has `most`.
    pub(super) fn seat(&self, address: SocketAddr, most: usize) -> Option<PeerSeat> {
        let peer = peer(address.ip());
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let open = peers.get(&peer).copied().unwrap_or_default();
        if most <= open {
            return None;
        }
        peers.insert(peer, open + 1);
        Some(PeerSeat { peers: self.clone(), peer })
    }

    fn leave(&self, peer: IpAddr) {
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match peers.get_mut(&peer) {
            Some(open) if 1 < *open => *open -= 1,
            _ => drop(peers.remove(&peer)),
        }
    }
}

/// One connection of a peer; it ends with this.
#[derive(Debug)]
pub(super) struct PeerSeat {
    peers: Peers,
    peer: IpAddr,
}

impl Drop for PeerSeat {
    fn drop(&mut self) {
        self.peers.leave(self.peer);
    }
}

/// An address of IPv4; of IPv6 the network, for a host has as many addresses in its own /64 as it likes.
fn peer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => IpAddr::V6(Ipv6Addr::from_bits(six.to_bits() >> 64 << 64)),
        four => four,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().unwrap(), 4711)
    }

    #[test]
    fn each_peer_has_its_own_seats_and_gets_them_back() {
        let peers = Peers::default();
        let (one, two) = (peers.seat(address("10.0.0.1"), 2), peers.seat(address("10.0.0.1"), 2));
        assert!(one.is_some() && two.is_some());
        assert!(peers.seat(address("10.0.0.1"), 2).is_none());
        assert!(peers.seat(address("::ffff:10.0.0.1"), 2).is_none(), "the same, in the words of IPv6");
        assert!(peers.seat(address("10.0.0.2"), 2).is_some());
        drop(one);
        assert!(peers.seat(address("10.0.0.1"), 2).is_some());
        drop(two);
        assert!(peers.0.lock().unwrap().is_empty(), "who has left is forgotten");
    }

    #[test]
    fn a_network_of_ipv6_is_one_peer() {
        let peers = Peers::default();
        let _seat = peers.seat(address("2001:db8::1"), 1).unwrap();
        assert!(peers.seat(address("2001:db8::ffff:2"), 1).is_none());
        assert!(peers.seat(address("2001:db8:0:1::1"), 1).is_some());
    }
}
