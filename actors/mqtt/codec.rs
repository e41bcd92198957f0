//! Bytes to Control Packets and back.
