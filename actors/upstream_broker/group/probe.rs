//! A connection to a member that stands by: it shows that the member is up, and does nothing else. What the member
//! sends on it is not acknowledged, so it comes again once the member is the one that counts.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use mqtt::packet::{Disconnect, Packet};
use tokio::time::{Interval, MissedTickBehavior, Sleep};

use crate::connection::{Connection, ConnectionError};
use crate::limits;
use crate::upstream_broker::connect::{Accepted, Cause, Failure};
use crate::upstream_broker::pinging::Pinging;

/// The attempt to reach a member.
pub type Attempt = Pin<Box<dyn Future<Output = Result<Accepted, Failure>>>>;

/// Where the probe of one member stands.
#[derive(Default)]
pub enum Probe {
    /// Nobody asks.
    #[default]
    Off,
    /// The pause before the next attempt.
    Waiting(Pin<Box<Sleep>>),
    /// An attempt is under way.
    Connecting(Attempt),
    /// The member is up.
    Up(Box<IdleLink>),
}

/// What a turn of a probe came to.
pub enum ProbeEvent {
    /// The pause is over: an attempt is due.
    Due,
    /// The member accepted the connection.
    Up,
    /// It did not, or the connection is lost.
    Down(Failure),
}

impl Probe {
    /// One turn.
    pub fn poll(&mut self, task: &mut Context<'_>) -> Poll<ProbeEvent> {
        match self {
            Probe::Off => Poll::Pending,
            Probe::Waiting(sleep) => sleep.as_mut().poll(task).map(|()| ProbeEvent::Due),
            Probe::Connecting(attempt) => match attempt.as_mut().poll(task) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Ok(accepted)) => {
                    *self = Probe::Up(Box::new(IdleLink::new(accepted, Instant::now())));
                    task.waker().wake_by_ref();
                    Poll::Ready(ProbeEvent::Up)
                }
                Poll::Ready(Err(failure)) => Poll::Ready(ProbeEvent::Down(failure)),
            },
            Probe::Up(link) => link.poll(task).map(ProbeEvent::Down),
        }
    }

    /// Ends the probe politely; done when the goodbye is out.
    pub fn close(self) -> Option<impl Future<Output = ()> + use<>> {
        match self {
            Probe::Up(link) => Some(link.close()),
            _ => None,
        }
    }
}

/// A connection that is kept open and idle.
pub struct IdleLink {
    connection: Connection,
    pinging: Pinging,
    ticks: Pin<Box<Interval>>,
    packets: Vec<Packet>,
}

impl IdleLink {
    fn new(accepted: Accepted, now: Instant) -> IdleLink {
        let mut ticks = tokio::time::interval(limits::UPSTREAM_TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        IdleLink {
            connection: accepted.connection,
            pinging: Pinging::new(accepted.capabilities.keep_alive_secs, now),
            ticks: Box::pin(ticks),
            packets: Vec::new(),
        }
    }

    fn poll(&mut self, task: &mut Context<'_>) -> Poll<Failure> {
        match self.turn(task) {
            Ok(()) => Poll::Pending,
            Err(failure) => Poll::Ready(failure),
        }
    }

    fn turn(&mut self, task: &mut Context<'_>) -> Result<(), Failure> {
        self.read(task)?;
        while self.ticks.as_mut().poll_tick(task).is_ready() {
            self.pinging.tick(Instant::now(), self.connection.output())?;
        }
        if self.connection.unsent_bytes() > 0
            && let Poll::Ready(flushed) = self.connection.poll_flush(task)
        {
            flushed.map_err(|error| Failure::new(Cause::Lost, error.to_string()))?;
            self.pinging.sent(Instant::now());
        }
        Ok(())
    }

    fn read(&mut self, task: &mut Context<'_>) -> Result<(), Failure> {
        for _ in 0..limits::TURN_READS {
            let received = self.connection.poll_receive(task, &mut self.packets);
            if !self.packets.is_empty() {
                self.pinging.received(Instant::now());
            }
            for packet in self.packets.drain(..) {
                if let Packet::Disconnect(disconnect) = packet {
                    let text = format!("the broker disconnected: {}", disconnect.reason_code);
                    return Err(Failure::new(Cause::Lost, text));
                }
            }
            match received {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(ConnectionError::Decode(error))) => {
                    let text = format!("the broker sent a bad packet: {error}");
                    return Err(Failure::new(Cause::Protocol, text));
                }
                Poll::Ready(Err(error)) => return Err(Failure::new(Cause::Lost, error.to_string())),
            }
        }
        task.waker().wake_by_ref();
        Ok(())
    }

    /// DISCONNECT, and the end of the connection.
    async fn close(mut self: Box<Self>) {
        if let Err(error) = self.connection.queue(&Packet::Disconnect(Disconnect::normal())) {
            log::error!("{}: {error}", self.connection.peer());
        }
        self.connection.close().await;
    }
}
