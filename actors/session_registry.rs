//! The actor that knows which Client Identifier has which session: it lets clients in, resumes sessions, and
//! sees to it that one identifier has one connection.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use actix::prelude::*;
use foldhash::fast::RandomState;
use mqtt::packet::Connect;
use mqtt::{ClientId, ReasonCode};

use crate::device_session::{DeviceSession, SessionContext};
use crate::limits;
use crate::messages::{
    Attach, Authenticate, Drain, GetSessionsSnapshot, Offer, Refused, Resume, Retire, SessionEnded,
    SessionId, SessionsSnapshot,
};
use crate::store::{Change, SessionKey, StoredSession};
use crate::timestamp::unix_micros;

/// The actor.
pub struct SessionRegistry {
    sessions: HashMap<ClientId, Entry, RandomState>,
    next_id: u64,
    authenticator: Recipient<Authenticate>,
    context: Arc<SessionContext>,
    draining: bool,
    /// Sessions of before a restart that have no actor yet.
    stored: Vec<StoredSession>,
}

struct Entry {
    id: SessionId,
    address: Addr<DeviceSession>,
}

impl SessionRegistry {
    /// A registry whose sessions get `context`.
    pub fn new(authenticator: Recipient<Authenticate>, context: Arc<SessionContext>) -> SessionRegistry {
        SessionRegistry {
            sessions: HashMap::default(),
            next_id: 0,
            authenticator,
            context,
            draining: false,
            stored: Vec::new(),
        }
    }

    /// Sessions of before a restart.
    pub fn restored(mut self, stored: Vec<StoredSession>) -> SessionRegistry {
        self.stored = stored;
        self
    }

    /// Each session of before goes on without a connection, unless it was to end with that.
    fn restore_sessions(&mut self, context: &mut Context<Self>) {
        for stored in std::mem::take(&mut self.stored) {
            if stored.expiry_secs == 0 && stored.will.is_none() {
                self.record_ended(&stored.client_id);
                continue;
            }
            let (id, client_id) = (self.next_session_id(), stored.client_id.clone());
            let ended = context.address().recipient();
            let session = DeviceSession::new(id, client_id.clone(), self.context.clone(), ended);
            let address = session.restored(stored).start();
            self.sessions.insert(client_id, Entry { id, address });
        }
        self.context.metrics.sessions.set(self.sessions.len() as i64);
    }

    fn next_session_id(&mut self) -> SessionId {
        let id = SessionId(self.next_id);
        self.next_id += 1;
        id
    }

    /// Nothing of the client's session is to come back after a restart.
    fn record_ended(&self, client_id: &ClientId) {
        if self.context.log.is_durable() {
            let ended = Change::SessionEnded { session: SessionKey::of_client(client_id) };
            self.context.log.append_changes(&[ended], unix_micros());
        }
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
    fn admit(&mut self, attach: Attach, context: &mut Context<Self>) {
        let Some(client_id) = ClientId::new(attach.connect.client_id.clone()) else {
            return self.begin_session(assign_client_id(), attach, true, context);
        };
        match self.sessions.get(&client_id) {
            Some(entry) if !attach.connect.clean_start => {
                let address = entry.address.clone();
                self.offer(client_id, attach, &address, context);
            }
            _ => self.begin_session(client_id, attach, false, context),
        }
    }

    /// Offers the client's connection to its session, which takes over an old connection by itself. A session that
    /// is just ending does not take it: then a new one begins.
    fn offer(
        &mut self,
        client_id: ClientId,
        attach: Attach,
        session: &Addr<DeviceSession>,
        context: &mut Context<Self>,
    ) {
        let offer: Offer = Arc::new(Mutex::new(Some(attach)));
        let asked = session.send(Resume(offer.clone())).into_actor(self);
        context.spawn(asked.map(move |_, registry, context| {
            let left = offer.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(attach) = left {
                registry.begin_session(client_id, attach, false, context);
            }
        }));
    }

    /// A new session; an older one of the same identifier ends `[MQTT-3.1.4-4]`.
    fn begin_session(
        &mut self,
        client_id: ClientId,
        attach: Attach,
        assigned: bool,
        context: &mut Context<Self>,
    ) {
        let Attach { connect, connection } = attach;
        if self.sessions.contains_key(&client_id) {
            // Before the new one writes anything down.
            self.record_ended(&client_id);
        }
        let id = self.next_session_id();
        let ended = context.address().recipient();
        let session = DeviceSession::new(id, client_id.clone(), self.context.clone(), ended);
        let address = session.with_connection(connect, connection, assigned).start();
        if let Some(older) = self.sessions.insert(client_id, Entry { id, address }) {
            let retired = older.address.send(Retire(ReasonCode::SessionTakenOver));
            actix::spawn(async move {
                // A session that is gone needs no retiring.
                let _ = retired.await;
            });
        }
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
        self.restore_sessions(context);
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
                registry.admit(Attach { connect, connection }, context);
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
