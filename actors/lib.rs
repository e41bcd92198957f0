//! The rooms of mqtt-proxy: its actors and what they keep.
