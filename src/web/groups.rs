//! `/api/groups`: groups of upstream brokers, as they are configured and as they stand.

use actix_web::web::{Data, Json, Path};
use actors::messages::{ConfigError, GroupSnapshot, ListGroups, RouterSnapshot, UpdateGroup};
use actors::snapshots::{GroupMemberSnapshot, PartSnapshot, SwitchSnapshot};
use actors::{BrokerGroup, GroupMode};
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::body::Body;
use super::error::ApiError;
use super::{WebState, ask};

/// What GET shows and nobody can set. It is ignored on the way in, so that what was read can be sent back.
const READ_ONLY_FIELDS: &[&str] = &[
    "name",
    "members",
    "active",
    "parts",
    "lag",
    "lag_bytes",
    "oldest_unsent_secs",
    "in_flight",
    "switches",
    "last_switch",
];

/// `GET /api/groups`: those that have members.
pub async fn list(state: Data<WebState>) -> Result<Json<GroupListJson>, ApiError> {
    let groups = ask(state.config_store.send(ListGroups));
    let (groups, router) = tokio::try_join!(groups, state.router_snapshot())?;
    Ok(Json(GroupListJson { groups: groups.iter().map(|group| shown(group, &router)).collect() }))
}

/// `GET /api/groups/{name}`.
pub async fn get(state: Data<WebState>, name: Path<String>) -> Result<Json<GroupJson>, ApiError> {
    let groups = ask(state.config_store.send(ListGroups)).await?;
    let group = groups.iter().find(|group| group.name == *name);
    let group = group.ok_or_else(|| ConfigError::NoSuchGroup(name.into_inner()))?;
    Ok(Json(shown(group, &state.router_snapshot().await?)))
}

/// `PUT /api/groups/{name}`: changes the fields that are given; `null` gives a field its default. `topics` and
/// `exclude_topics` are changed at all members at once.
pub async fn update(
    state: Data<WebState>,
    name: Path<String>,
    body: Body,
) -> Result<Json<GroupJson>, ApiError> {
    let mut fields = body.fields()?.into_unique()?;
    fields.retain(|(field, _)| !READ_ONLY_FIELDS.contains(&field.as_str()));
    let update = UpdateGroup { name: name.into_inner(), fields };
    let group = ask(state.config_store.send(update)).await??;
    Ok(Json(shown(&group, &state.router_snapshot().await?)))
}

/// All groups.
#[derive(Serialize)]
pub struct GroupListJson {
    groups: Vec<GroupJson>,
}

/// One group: what it is told, then what it does now.
#[derive(Serialize)]
pub struct GroupJson {
    name: String,
    #[serde(flatten)]
    settings: Map<String, Value>,
    members: Vec<MemberJson>,
    /// The member that gets everything; none where a group balances, or where nobody is connected.
    active: Option<String>,
    parts: Vec<PartJson>,
    lag: u64,
    lag_bytes: u64,
    oldest_unsent_secs: Option<u64>,
    in_flight: u64,
    switches: u64,
    last_switch: Option<SwitchJson>,
}

#[derive(Serialize)]
struct MemberJson {
    id: Uuid,
    name: String,
    priority: u32,
    state: &'static str,
}

/// One part of the topics of a group that balances, or all of them.
#[derive(Serialize)]
struct PartJson {
    member: Option<String>,
    connected: bool,
    lag: u64,
    lag_bytes: u64,
    oldest_unsent_secs: Option<u64>,
    in_flight: u64,
}

#[derive(Serialize)]
struct SwitchJson {
    from: String,
    to: String,
    cause: String,
    secs_ago: u64,
}

fn shown(group: &BrokerGroup, router: &RouterSnapshot) -> GroupJson {
    let live = router.groups.iter().find(|live| live.group.id == group.id);
    let settings = group.settings.fields().map(|(name, value)| (name.to_owned(), value)).collect();
    let of = |number: fn(&GroupSnapshot) -> u64| live.map_or(0, number);
    let is_failover = group.settings.mode == GroupMode::Failover;
    let parts = live.map_or(&[][..], |live| &live.parts);
    let active = parts.first().filter(|part| is_failover && part.is_active);
    GroupJson {
        name: group.name.clone(),
        settings,
        members: live.iter().flat_map(|live| &live.members).map(MemberJson::new).collect(),
        active: active.and_then(|part| part.member.clone()),
        lag: of(|live| live.lag),
        lag_bytes: of(|live| live.lag_bytes),
        oldest_unsent_secs: live.and_then(|live| live.oldest_unsent).map(|age| age.as_secs()),
        in_flight: of(|live| live.in_flight),
        switches: of(|live| live.switches),
        last_switch: live.and_then(|live| live.last_switch.as_ref()).map(SwitchJson::new),
        parts: parts.iter().map(PartJson::new).collect(),
    }
}

impl MemberJson {
    fn new(member: &GroupMemberSnapshot) -> MemberJson {
        MemberJson {
            id: member.id.0,
            name: member.name.clone(),
            priority: member.priority,
            state: member.state,
        }
    }
}

impl PartJson {
    fn new(part: &PartSnapshot) -> PartJson {
        PartJson {
            member: part.member.clone(),
            connected: part.is_active,
            lag: part.lag,
            lag_bytes: part.lag_bytes,
            oldest_unsent_secs: part.oldest_unsent.map(|age| age.as_secs()),
            in_flight: part.in_flight,
        }
    }
}

impl SwitchJson {
    fn new(switch: &SwitchSnapshot) -> SwitchJson {
        SwitchJson {
            from: switch.from.clone(),
            to: switch.to.clone(),
            cause: switch.cause.clone(),
            secs_ago: switch.age.as_secs(),
        }
    }
}
