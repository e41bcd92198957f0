//! Where clients come in: one transport a file, and the handshake that all of them share.

pub mod admission;
pub mod handshake;
pub mod refusal;
pub mod sniff;
pub mod tcp;
pub mod tls;
