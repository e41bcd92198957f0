//! Several proxies and brokers that hand each other everything: each message reaches everybody, and then there is rest.

mod echoes;
mod echoing;
mod mutual;
mod origin;
mod places;
mod rings;
mod subscriptions;
