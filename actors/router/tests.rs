//! The Router with plain recipients around it.
