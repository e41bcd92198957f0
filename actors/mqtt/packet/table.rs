//! Helpers for the byte tables of the packets.
