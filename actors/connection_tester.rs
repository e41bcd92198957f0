//! The actor that tries brokers out: one connection with a Client Identifier of its own, that says what happened and
//! goes. Nothing is stored, and no connection that runs is touched.

use std::sync::Arc;

use actix::prelude::*;
use mqtt::packet::{Disconnect, Packet};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::upstream_broker::{Failure, Introduction, Steps, connect};
use crate::{Broker, limits};

/// Tries a broker out, which need not be stored.
#[derive(Message)]
#[rtype(result = "Result<ConnectionTest, TooManyTests>")]
pub struct TestConnection(pub Box<Broker>);

/// What came of it.
#[derive(Debug)]
pub struct ConnectionTest {
    /// What was reached.
    pub steps: Steps,
    /// Why it went no further; `None` where the broker took us in.
    pub failure: Option<Failure>,
}

/// So many tests run already that this one cannot: [`limits::CONNECTION_TESTS_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyTests;

/// The actor.
pub struct ConnectionTester {
    packet_bytes_max: usize,
    places: Arc<Semaphore>,
}

impl ConnectionTester {
    /// A tester that accepts packets of at most `packet_bytes_max` bytes, as the upstream brokers' actors do.
    pub fn new(packet_bytes_max: usize) -> ConnectionTester {
        ConnectionTester { packet_bytes_max, places: Arc::new(Semaphore::new(limits::CONNECTION_TESTS_MAX)) }
    }
}

impl Actor for ConnectionTester {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        context.set_mailbox_capacity(limits::MAILBOX_MESSAGES);
    }
}

impl Handler<TestConnection> for ConnectionTester {
    type Result = ResponseFuture<Result<ConnectionTest, TooManyTests>>;

    fn handle(&mut self, TestConnection(broker): TestConnection, _: &mut Context<Self>) -> Self::Result {
        let place = self.places.clone().try_acquire_owned();
        let packet_bytes_max = self.packet_bytes_max;
        Box::pin(async move {
            // Held until the connection is closed.
            let _place = place.map_err(|_| TooManyTests)?;
            Ok(try_out(&stranger(*broker), packet_bytes_max).await)
        })
    }
}

/// The same broker for a client that nobody knows: the Session of the real one, and its connection, stay as they are.
fn stranger(broker: Broker) -> Broker {
    let number = Uuid::new_v4().as_fields().0;
    let known = broker.fixed_client_id.as_ref().unwrap_or(&broker.client_id_prefix);
    let client_id = format!("{known}-test-{number:08x}");
    Broker { fixed_client_id: Some(client_id), clean_session: true, ..broker }
}

/// Connects once and says goodbye.
async fn try_out(broker: &Broker, packet_bytes_max: usize) -> ConnectionTest {
    let mut steps = Steps::new();
    match connect(broker, Introduction::None, packet_bytes_max, None, &mut steps).await {
        Ok(accepted) => {
            let mut connection = accepted.connection;
            if let Err(error) = connection.queue(&Packet::Disconnect(Disconnect::normal())) {
                log::error!("{}: {error}", connection.peer());
            }
            connection.close().await;
            ConnectionTest { steps, failure: None }
        }
        Err(failure) => ConnectionTest { steps, failure: Some(failure) },
    }
}
