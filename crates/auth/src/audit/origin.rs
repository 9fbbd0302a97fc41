//! Where the request under way came from.
//!
//! The address would otherwise be a parameter of every service call, and of all that lies between, for one field of
//! one event. It goes with the task instead: the door sets it where it takes a request in, in one place, so that no
//! handler can forget or forge it. It decides nothing; only events read it, when they are made. Work that is spawned does
//! not have it, so that an event is to be made before spawning.

use std::net::IpAddr;

tokio::task_local! {
    static PEER: IpAddr;
}

/// Runs the work as being asked for from that address.
pub async fn from_peer<F: Future>(peer: IpAddr, work: F) -> F::Output {
    PEER.scope(peer, work).await
}

/// The address from which the work under way was asked for; none outside of [`from_peer`], as in a command.
pub fn peer() -> Option<IpAddr> {
    PEER.try_with(|peer| *peer).ok()
}
