//! The actor that knows which Client Identifier has which session: it lets clients in, resumes sessions, and
//! sees to it that one identifier has one connection.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use actix::prelude::*;
use foldhash::fast::RandomState;
use mqtt::message::payload_format_fits;
use mqtt::packet::{Connect, Will};
use mqtt::{ClientId, ReasonCode};

use crate::connection::Connection;
use crate::device_session::{DeviceSession, SessionContext, Welcome};
use crate::messages::{
    Attach, Authenticate, Drain, GetSessionsSnapshot, Offer, Refused, Resume, Retire, SessionEnded,
    SessionId, SessionsSnapshot,
};
use crate::store::{Change, SessionKey, StoredSession};
use crate::timestamp::unix_micros;
use crate::{Quota, limits};

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
    is_connected: Arc<AtomicBool>,
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
            let is_connected = session.is_connected();
            let address = session.restored(stored).start();
            self.sessions.insert(client_id, Entry { id, address, is_connected });
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
    fn refusal(&self, attach: &Attach) -> Option<Refusal> {
        if self.draining {
            // CONNACK has no "server shutting down".
            return Some(self.elsewhere(ReasonCode::ServerUnavailable, "the server is shutting down"));
        }
        if let Some(refusal) = self.quota_refusal(&attach.connect) {
            return Some(refusal);
        }
        let connect = &attach.connect;
        if connect.properties.authentication_method().is_some() && attach.authenticated.is_none() {
            return Some((ReasonCode::BadAuthenticationMethod, ""));
        }
        connect.will.as_ref().and_then(|will| self.refusal_of_will(will))
    }

    /// Which quota the client would exceed. Who takes the place of a connection or a session of its own needs no new one.
    fn quota_refusal(&self, connect: &Connect) -> Option<Refusal> {
        let (limits, metrics) = (&self.context.limits, &self.context.metrics);
        let session = ClientId::new(connect.client_id.clone()).and_then(|id| self.sessions.get(&id));
        let takes_over = session.is_some_and(|session| session.is_connected.load(Ordering::Relaxed));
        if self.context.connected.load(Ordering::Relaxed) >= limits.connections_max && !takes_over {
            metrics.exceeded(Quota::Connections);
            return Some(self.elsewhere(ReasonCode::ServerBusy, "no more clients are taken"));
        }
        if self.sessions.len() >= limits.sessions_max && session.is_none() {
            metrics.exceeded(Quota::Sessions);
            return Some((ReasonCode::QuotaExceeded, "no more sessions are kept"));
        }
        if connect.will.as_ref().is_some_and(|will| !limits.topics.admit_name(&will.topic_name)) {
            metrics.exceeded(Quota::Topic);
            return Some((ReasonCode::TopicNameInvalid, "the will topic is too long or has too many levels"));
        }
        None
    }

    /// The Reason Code for a client that has no place here and may have one elsewhere.
    fn elsewhere(&self, reason_code: ReasonCode, text: &'static str) -> Refusal {
        match self.context.server.server_reference {
            Some(_) => (ReasonCode::UseAnotherServer, text),
            None => (reason_code, text),
        }
    }

    /// A Will that the client could not publish itself: `$SYS` is ours to write.
    fn refusal_of_will(&self, will: &Will) -> Option<Refusal> {
        if will.topic_name.is_sys() {
            return Some((ReasonCode::NotAuthorized, "the will topic is below $SYS"));
        }
        let is_text =
            !self.context.server.check_payload_format || payload_format_fits(&will.properties, &will.payload);
        (!is_text).then_some((ReasonCode::PayloadFormatInvalid, "the will payload is not UTF-8 as it says"))
    }

    /// The client may come in: it gets its old session, or a new one.
    fn admit(&mut self, attach: Attach, context: &mut Context<Self>) -> Result<(), Refused> {
        // Things may have changed while somebody looked at who it is.
        if let Some(refusal) = self.refusal(&attach) {
            return Err(refused(refusal, attach.connection));
        }
        let asked = ClientId::new(attach.connect.client_id.clone());
        let assigned = asked.is_none();
        let client_id = asked.unwrap_or_else(assign_client_id);
        let welcome = Welcome {
            connect: &attach.connect,
            authenticated: attach.authenticated.as_ref(),
            client_id: &client_id,
            assigned,
            limits: &self.context.limits,
            server: &self.context.server,
            // It is left out where there is no room for it.
            announcement: None,
        };
        if welcome.connack(false).is_none() {
            let text = "its maximum packet size leaves no room for what it has to know";
            return Err(refused((ReasonCode::PacketTooLarge, text), attach.connection));
        }
        match self.sessions.get(&client_id) {
            Some(entry) if !attach.connect.clean_start => {
                let address = entry.address.clone();
                self.offer(client_id, attach, &address, context);
            }
            _ => self.begin_session(client_id, attach, assigned, context),
        }
        Ok(())
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
        if self.sessions.contains_key(&client_id) {
            // Before the new one writes anything down.
            self.record_ended(&client_id);
        }
        let id = self.next_session_id();
        let ended = context.address().recipient();
        let session = DeviceSession::new(id, client_id.clone(), self.context.clone(), ended);
        let is_connected = session.is_connected();
        let address = session.with_connection(attach, assigned).start();
        if let Some(older) = self.sessions.insert(client_id, Entry { id, address, is_connected }) {
            let retired = older.address.send(Retire(ReasonCode::SessionTakenOver));
            actix::spawn(async move {
                // A session that is gone needs no retiring.
                let _ = retired.await;
            });
        }
        self.context.metrics.sessions.set(self.sessions.len() as i64);
    }
}

/// Why a client is not let in, and the same in words where they add something.
type Refusal = (ReasonCode, &'static str);

fn refused((reason_code, text): Refusal, connection: Connection) -> Refused {
    Refused { reason_code, text, connection: Box::new(connection) }
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

    fn handle(&mut self, attach: Attach, context: &mut Context<Self>) -> Self::Result {
        if attach.authenticated.is_some() {
            return Box::pin(actix::fut::ready(self.admit(attach, context)));
        }
        if let Some(refusal) = self.refusal(&attach) {
            return Box::pin(actix::fut::ready(Err(refused(refusal, attach.connection))));
        }
        let Connect { user_name, password, .. } = &*attach.connect;
        let question = Authenticate { user_name: user_name.clone(), password: password.clone() };
        let answer = self.authenticator.send(question).into_actor(self);
        Box::pin(answer.map(move |answer, registry, context: &mut Context<Self>| match answer {
            Ok(Ok(())) => registry.admit(attach, context),
            Ok(Err(reason_code)) => Err(refused((reason_code, ""), attach.connection)),
            Err(_) => Err(refused((ReasonCode::ServerUnavailable, ""), attach.connection)),
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
