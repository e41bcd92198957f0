//! The Session State as a pure machine: events and `now` in, actions out.
