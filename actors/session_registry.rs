//! The actor that knows which Client Identifier has which session: it lets clients in, resumes sessions, and
//! sees to it that one identifier has one connection.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix::prelude::*;
use foldhash::fast::RandomState;
use mqtt::packet::Connect;
use mqtt::{ClientId, ReasonCode};

use crate::connection::Connection;
use crate::device_session::{DeviceSession, SessionContext};
use crate::limits;
use crate::messages::{
    Attach, Authenticate, Drain, GetSessionsSnapshot, Refused, Resume, Retire, SessionEnded, SessionId,
    SessionsSnapshot,
};

/// The actor.
pub struct SessionRegistry {
    sessions: HashMap<ClientId, Entry, RandomState>,
    next_id: u64,
    authenticator: Recipient<Authenticate>,
    context: Arc<SessionContext>,
    draining: bool,
}

struct Entry {
    id: SessionId,
    address: Addr<DeviceSession>,
}

impl SessionRegistry {
    /// A registry whose sessions get `context`.
    pub fn new(authenticator: Recipient<Authenticate>, context: Arc<SessionContext>) -> SessionRegistry {
        SessionRegistry { sessions: HashMap::default(), next_id: 0, authenticator, context, draining: false }
    }

    /// What speaks against this client before anyone asks who it is.
    fn refusal(&self, connect: &Connect) -> Option<ReasonCode> {
        if self.draining {
            return Some(ReasonCode::ServerShuttingDown);
        }
        if self.context.connected.load(Ordering::Relaxed) >= self.context.limits.connections_max {
            return Some(ReasonCode::ServerBusy);
        }
        if connect.properties.authentication_method().is_some() {
            return Some(ReasonCode::BadAuthenticationMethod);
        }
        None
    }

    /// The client is let in: it gets its old session, or a new one.
    fn admit(&mut self, connect: Box<Connect>, connection: Connection, registry: &Addr<Self>) {
        let (client_id, assigned) = match ClientId::new(connect.client_id.clone()) {
            Some(client_id) => (client_id, false),
            None => (assign_client_id(), true),
        };
        if let Some(entry) = self.sessions.get(&client_id) {
            if !connect.clean_start && entry.address.connected() {
                // The old connection, if there still is one, is taken over by the session itself.
                let resume = entry.address.send(Resume { connect, connection });
                actix::spawn(async move {
                    if resume.await.is_err() {
                        log::warn!("client {client_id}: its session ended while it was being resumed");
                    }
                });
                return;
            }
            let retired = entry.address.send(Retire(ReasonCode::SessionTakenOver));
            actix::spawn(async move {
                // A session that is gone needs no retiring.
                let _ = retired.await;
            });
        }
        let id = SessionId(self.next_id);
        self.next_id += 1;
        let ended = registry.clone().recipient();
        let session = DeviceSession::new(id, client_id.clone(), self.context.clone(), ended);
        let address = session.with_connection(connect, connection, assigned).start();
        self.sessions.insert(client_id, Entry { id, address });
        self.context.metrics.sessions.set(self.sessions.len() as i64);
    }
}

/// A Client Identifier that nobody else has `[MQTT-3.1.3-6]`.
fn assign_client_id() -> ClientId {
    let text = format!("auto-{}", uuid::Uuid::new_v4());
    ClientId::new(text).expect("the text is neither empty nor too long and has no NUL")
}

impl Actor for SessionRegistry {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        context.set_mailbox_capacity(limits::MAILBOX_MESSAGES);
    }
}

impl Handler<Attach> for SessionRegistry {
    type Result = ResponseActFuture<Self, Result<(), Refused>>;

    fn handle(&mut self, attach: Attach, _: &mut Context<Self>) -> Self::Result {
        let Attach { connect, connection } = attach;
        if let Some(reason_code) = self.refusal(&connect) {
            return Box::pin(actix::fut::ready(Err(Refused {
                reason_code,
                connection: Box::new(connection),
            })));
        }
        let question =
            Authenticate { user_name: connect.user_name.clone(), password: connect.password.clone() };
        let answer = self.authenticator.send(question).into_actor(self);
        Box::pin(answer.map(move |answer, registry, context: &mut Context<Self>| match answer {
            Ok(Ok(())) => {
                registry.admit(connect, connection, &context.address());
                Ok(())
            }
            Ok(Err(reason_code)) => Err(Refused { reason_code, connection: Box::new(connection) }),
            Err(_) => {
                let reason_code = ReasonCode::ServerUnavailable;
                Err(Refused { reason_code, connection: Box::new(connection) })
            }
        }))
    }
}

impl Handler<SessionEnded> for SessionRegistry {
    type Result = ();

    fn handle(&mut self, ended: SessionEnded, _: &mut Context<Self>) {
        // A newer session of the same identifier stays.
        if self.sessions.get(&ended.client_id).is_some_and(|entry| entry.id == ended.session_id) {
            self.sessions.remove(&ended.client_id);
        }
        self.context.metrics.sessions.set(self.sessions.len() as i64);
    }
}

impl Handler<GetSessionsSnapshot> for SessionRegistry {
    type Result = SessionsSnapshot;

    fn handle(&mut self, _: GetSessionsSnapshot, _: &mut Context<Self>) -> SessionsSnapshot {
        SessionsSnapshot {
            sessions: self.sessions.len() as u64,
            connected: self.context.connected.load(Ordering::Relaxed) as u64,
        }
    }
}

impl Handler<Drain> for SessionRegistry {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Drain, _: &mut Context<Self>) -> Self::Result {
        self.draining = true;
        let drained: Vec<_> = self.sessions.values().map(|entry| entry.address.send(Drain)).collect();
        Box::pin(async move {
            for session in drained {
                // A session that is gone has nothing left to drain.
                let _ = session.await;
            }
        })
    }
}
