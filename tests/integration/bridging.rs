//! The proxy as a bridge between brokers, seen from outside: echoes, faults of lines and brokers, pauses, groups and
//! alerts, several of them at a time.

mod credits;
mod dry_runs;
mod faults;
mod groups;
mod health;
mod inbound;
mod limits;
mod odd_upstreams;
mod parts;
mod pauses;
mod places;
mod previews;
mod retries;
