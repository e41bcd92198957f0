//! The Session State as a pure machine: packets and `now` in, decisions out. Both ends of a connection use
//! it: a device session as the Server, an upstream broker's client as the Client. [`client`] puts the parts
//! together for programs that are the Client of somebody else's server.

pub mod client;
pub mod expiry;
mod in_flight;
pub mod inflow;
pub mod keep_alive;
pub mod outflow;
pub mod will;

pub use client::ClientSession;
pub use expiry::SessionExpiry;
pub use inflow::{Arrival, Inflow, ReceiveMaximumExceeded};
pub use keep_alive::KeepAlive;
pub use outflow::{Outflow, PubRecOutcome, Resend, UnexpectedAcknowledgement};
pub use will::{SessionEnd, WillMoment, will_moment};
