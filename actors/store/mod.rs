//! What actors keep on disk besides messages: sessions, retained messages and how far each upstream broker is.

pub mod annex;
pub mod change;

pub use annex::{Annex, Recipient};
pub use change::{Change, LiveCursor, SessionKey};
