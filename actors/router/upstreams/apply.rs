//! Makes the actors fit the definitions, when those have changed.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::plan::{self, Way, WayOfGroup};
use super::{Child, Member, Upstreams, forget};
use crate::BrokerId;
use crate::broker::SharedBroker;
use crate::broker_group::SharedGroup;
use crate::message_log::LogPlace;
use crate::messages::UpstreamState;
use crate::store::StoredUpstream;
use crate::upstream_broker::{Endpoint, GroupStatus, Predecessors, Retire, UpstreamContext, UpstreamStatus};

/// A group that has members.
pub struct KnownGroup {
    /// Its definition.
    pub group: SharedGroup,
    /// What it shows.
    pub status: Arc<GroupStatus>,
}

/// Who served a broker before, where somebody else does from now on.
struct Ancestor {
    brokers: Vec<BrokerId>,
    place: Arc<LogPlace>,
    /// Told when the actor has left, and whether it left something unfinished; `None` for one that goes on.
    left: Option<watch::Receiver<Option<bool>>>,
}

/// What a way begins with that was not there before.
#[derive(Default)]
pub struct Inheritance {
    /// Where it begins to read.
    pub cursor: Option<u64>,
    /// Sessions at the brokers may hold what nobody remembers.
    pub is_distrusting: bool,
    left: Vec<watch::Receiver<Option<bool>>>,
    places: Vec<Arc<LogPlace>>,
}

impl Inheritance {
    /// What the new actor has to wait for.
    pub fn predecessors(&mut self, place: &Arc<LogPlace>) -> Option<Predecessors> {
        if self.left.is_empty() {
            return None;
        }
        let left = std::mem::take(&mut self.left);
        let left = async move {
            let mut is_unfinished = false;
            for mut left in left {
                // One that is gone without a word may have left anything.
                is_unfinished |=
                    left.wait_for(Option::is_some).await.map_or(true, |left| left.unwrap_or(true));
            }
            is_unfinished
        };
        let places = std::mem::take(&mut self.places);
        Some(Predecessors { left: Box::pin(left), place: place.clone(), places })
    }
}

impl Upstreams {
    /// Makes the actors fit the definitions. What did not change is not touched.
    pub fn apply(&mut self, brokers: Vec<SharedBroker>, groups: Vec<SharedGroup>, context: &UpstreamContext) {
        self.know(&brokers, groups, context);
        let mut old: HashMap<BrokerId, Child> =
            std::mem::take(&mut self.children).into_iter().map(|child| (child.key, child)).collect();
        // Who served whom before, and might hand something over.
        let served: HashMap<BrokerId, Vec<BrokerId>> = old
            .values()
            .filter(|child| child.running.is_some())
            .map(|child| (child.key, child.served()))
            .collect();
        let groups: Vec<SharedGroup> = self.groups.iter().map(|known| known.group.clone()).collect();
        let mut fresh = Vec::new();
        for way in plan::ways(&brokers, &groups) {
            match old.remove(&way.key) {
                Some(child) => self.children.push(child.changed(way, &self.members, context)),
                None => fresh.push(way),
            }
        }
        let has_heir = |child: &&Child| {
            let served = served.get(&child.key);
            served.is_some_and(|served| {
                fresh.iter().any(|way: &Way| way.brokers().any(|id| served.contains(&id)))
            })
        };
        let mut ancestors: Vec<Ancestor> = Vec::new();
        for child in self.children.iter().filter(has_heir) {
            ancestors.extend(Ancestor::staying(child, &served));
        }
        let gone: Vec<Child> = old.into_values().collect();
        for child in &gone {
            match has_heir(&child) {
                true => ancestors.extend(Ancestor::leaving(child, &served)),
                false => {
                    let (name, waiting) = (&child.broker.name, child.waiting());
                    log::info!("broker {name}: removed, {waiting} messages that waited are not kept");
                    child.withdraw();
                }
            }
        }
        for way in fresh {
            let stored = self.stored.remove(&way.key);
            let inheritance = inherit(&way, &ancestors, stored.is_some());
            let child = self.begin(way, stored, inheritance, context);
            self.children.push(child);
        }
        // Only now, so that there is no moment in which nobody keeps what they had.
        for child in gone {
            child.forget(context);
        }
        for (id, _) in std::mem::take(&mut self.stored) {
            log::info!("a broker that is not defined any more is forgotten ({id})");
            forget(id, context);
        }
        context.bridge.set_brokers(brokers.iter().map(|broker| &**broker));
        context.log.begin_retention();
        // Who there is, and under which name.
        context.state_changes.notify_one();
        self.refresh();
    }

    /// Takes the definitions in: a status for each broker and each group, and none for those that are gone.
    fn know(&mut self, brokers: &[SharedBroker], groups: Vec<SharedGroup>, context: &UpstreamContext) {
        let metrics = &context.metrics;
        let mut old = std::mem::take(&mut self.members);
        for broker in brokers {
            let known = old.iter().position(|member| member.broker.id == broker.id);
            let status = known.map(|index| old.swap_remove(index).status).unwrap_or_else(|| {
                let state_changes = context.state_changes.clone();
                Arc::new(UpstreamStatus::new(broker.id, &broker.name, metrics, state_changes))
            });
            status.rename(&broker.name, metrics);
            if !broker.enabled {
                status.set_state(UpstreamState::Disabled);
            }
            self.members.push(Member { broker: broker.clone(), status });
        }
        for gone in old {
            gone.status.forget(metrics);
        }
        let mut old = std::mem::take(&mut self.groups);
        for group in groups {
            let known = old.iter().position(|known| known.group.id == group.id);
            let status = known.map(|index| old.swap_remove(index).status);
            let status = status.unwrap_or_else(|| GroupStatus::new(&group.name, metrics));
            self.groups.push(KnownGroup { group, status });
        }
        for gone in old {
            log::info!("group {}: removed with its last member", gone.group.name);
            gone.status.forget(metrics);
        }
    }

    fn begin(
        &mut self,
        way: Way,
        stored: Option<StoredUpstream>,
        inheritance: Inheritance,
        context: &UpstreamContext,
    ) -> Child {
        let Way { key, broker, group } = way;
        let status = self.status_of(broker.id, context);
        let Some(WayOfGroup { group, members, scope }) = group else {
            return Child::new(broker, status, stored, inheritance, context);
        };
        let group_status = self.groups.iter().find(|known| known.group.id == group.id);
        let group_status = group_status
            .map_or_else(|| GroupStatus::new(&group.name, &context.metrics), |known| known.status.clone());
        let endpoints = members.into_iter().map(|broker| {
            let session = plan::session_of(key, broker.id);
            let status = self.status_of(broker.id, context);
            let stored = self.stored.remove(&session).unwrap_or_default();
            let status = if scope.is_part() { Arc::new(status.beside()) } else { status };
            Endpoint { broker, status, session, stored, is_distrusted: inheritance.is_distrusting }
        });
        let endpoints: Vec<Endpoint> = endpoints.collect();
        Child::of_group(
            key,
            super::Grouped { group, endpoints, scope, status: group_status },
            stored,
            inheritance,
            context,
        )
    }

    fn status_of(&self, id: BrokerId, context: &UpstreamContext) -> Arc<UpstreamStatus> {
        let member = self.members.iter().find(|member| member.broker.id == id);
        member.map_or_else(
            || Arc::new(UpstreamStatus::new(id, "", &context.metrics, context.state_changes.clone())),
            |member| member.status.clone(),
        )
    }
}

impl Way {
    /// The brokers that are served this way.
    fn brokers(&self) -> impl Iterator<Item = BrokerId> {
        let members = self.group.iter().flat_map(|group| &group.members);
        let alone = self.group.is_none() && self.broker.enabled;
        members.map(|member| member.id).chain(alone.then_some(self.broker.id))
    }
}

impl Ancestor {
    fn staying(child: &Child, served: &HashMap<BrokerId, Vec<BrokerId>>) -> Option<Ancestor> {
        let running = child.running.as_ref()?;
        let brokers = served.get(&child.key)?.clone();
        Some(Ancestor { brokers, place: running.place.clone(), left: None })
    }

    /// Lets the actor finish what is in flight and end.
    fn leaving(child: &Child, served: &HashMap<BrokerId, Vec<BrokerId>>) -> Option<Ancestor> {
        let running = child.running.as_ref()?;
        let brokers = served.get(&child.key)?.clone();
        log::info!("broker {}: others go on in its place", child.broker.name);
        let (said, left) = watch::channel(None);
        let leaving = running.address.send(Retire);
        actix::spawn(async move {
            // One that is gone may have left anything.
            let _ = said.send(Some(leaving.await.unwrap_or(true)));
        });
        Some(Ancestor { brokers, place: running.place.clone(), left: Some(left) })
    }
}

/// What a new way takes over from those who served its brokers before.
fn inherit(way: &Way, ancestors: &[Ancestor], is_stored: bool) -> Inheritance {
    let mut inheritance = Inheritance::default();
    if is_stored {
        return inheritance;
    }
    for ancestor in ancestors.iter().filter(|ancestor| way.brokers().any(|id| ancestor.brokers.contains(&id)))
    {
        let cursor = ancestor.place.cursor();
        inheritance.cursor = Some(inheritance.cursor.map_or(cursor, |other| other.min(cursor)));
        // Where the members were served by a group, what each Session holds is known to that group alone.
        inheritance.is_distrusting |= ancestor.left.is_none() || ancestor.brokers.len() > 1;
        inheritance.left.extend(ancestor.left.clone());
        inheritance.places.extend(ancestor.left.is_some().then(|| ancestor.place.clone()));
    }
    inheritance
}
