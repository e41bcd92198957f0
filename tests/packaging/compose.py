"""What compose.yaml promises: restraints, bounds, pinned images, starts in order, and files that are there."""

import json
import re

from checks import ROOT, check, documents, sum_up, version
from proxy import seeded

COMPOSE = documents("compose.yaml")[0]
SERVICES = COMPOSE["services"]
ALL_PROFILES = {"monitoring", "tls"}


def each(problem):
    """The services' problems; `problem` gets name and service, and answers with a text or nothing."""
    found = ((name, problem(name, service)) for name, service in SERVICES.items())
    return [f"{name}: {text}" for name, text in found if text]


def is_one_shot(name):
    """Whether others wait for its end: such a service must not be started again."""
    waits = [service.get("depends_on", {}) for service in SERVICES.values()]
    ends = [wait[name].get("condition") for wait in waits if isinstance(wait, dict) and name in wait]
    return "service_completed_successfully" in ends


def restart(name, service):
    wanted = "no" if is_one_shot(name) else "unless-stopped"
    return None if service.get("restart") == wanted else f"restart is {service.get('restart')!r}, not {wanted!r}"


def with_default(text):
    """A value as it is where no variable of the environment changes it."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def image(_, service):
    name = with_default(service.get("image", ""))
    if not re.fullmatch(r"[a-z0-9/.-]+:v?\d+(\.\d+)+[a-z0-9.-]*", name):
        return f"image {name!r} has no version"
    if name.startswith("mqtt-proxy:") and name != f"mqtt-proxy:{version()}":
        return f"image {name!r} is not of version {version()}"
    return None


def has_health(name):
    """In compose.yaml, or for what is built here in the Dockerfile."""
    return "healthcheck" in SERVICES[name] or "build" in SERVICES[name] and "HEALTHCHECK" in (ROOT / "Dockerfile").read_text()


def order(name, service):
    awaited = service.get("depends_on", {})
    if isinstance(awaited, list):
        return f"waits for {', '.join(awaited)} to be started only, not to be healthy"
    for other, wait in awaited.items():
        condition = wait.get("condition")
        if condition == "service_completed_successfully":
            continue
        if condition != "service_healthy" or not has_health(other):
            return f"does not wait for the health of {other}, or it has none"
        hidden = set(SERVICES[other].get("profiles", [])) - set(service.get("profiles", []))
        if hidden:
            return f"waits for {other}, which only the profile {hidden} starts"
    return None


def mounts(_, service):
    for volume in service.get("volumes", []):
        source, target = volume.split(":")[:2]
        if source.startswith("."):
            if not (ROOT / source).exists():
                return f"{source} is not there"
            if not volume.endswith(":ro"):
                return f"{source} can be written to"
        elif source not in COMPOSE["volumes"]:
            return f"the volume {source} of {target} is not declared"
    return None


def files_that_are_named():
    """Files of the image that environment and entry point of the proxy's image name are files of the tree."""
    texts = [SERVICES["mqtt-proxy"]["environment"]["MQTT_PROXY__DATA__SEED"], *SERVICES["certificates"]["entrypoint"]]
    paths = [text.removeprefix("/app/") for text in texts if text.startswith("/app/")]
    assert len(paths) == 2, paths
    return [f"{path} is not in the tree" for path in paths if not (ROOT / path).is_file()]


def seed():
    brokers = json.loads((ROOT / "settings/brokers.seed.json").read_text())["brokers"]
    problems = []
    for broker in brokers:
        service = SERVICES.get(broker["address"])
        if service is None:
            problems.append(f"there is no service {broker['address']}")
        elif bool(service.get("profiles")) == broker.get("enabled", True):
            problems.append(f"{broker['address']} is enabled without its profile, or not without one")
        elif not set(service["networks"]) & set(SERVICES["mqtt-proxy"]["networks"]):
            problems.append(f"the proxy has no network with {broker['address']}")
    names = {broker["name"] for broker in brokers}
    known = {broker["name"] for broker in seeded(ROOT / "settings/brokers.seed.json", "a secret")}
    return problems + [f"the proxy did not take {name}" for name in names ^ known]


def ports():
    published = [with_default(port) for service in SERVICES.values() for port in service.get("ports", [])]
    hosts = [port.split(":")[-2] for port in published]
    return [f"port {port} of the host is taken twice" for port in set(hosts) if hosts.count(port) > 1]


def profiles():
    used = {profile for service in SERVICES.values() for profile in service.get("profiles", [])}
    return [] if used == ALL_PROFILES else [f"they are {used}, not {ALL_PROFILES}"]


def flag(key, wanted):
    return lambda _, service: None if service.get(key) == wanted else f"{key} is {service.get(key)!r}"


check("every service has its restart policy", each(restart))
check("no service gets new privileges", each(flag("security_opt", ["no-new-privileges:true"])))
check("every service drops all capabilities", each(flag("cap_drop", ["ALL"])))
check("only the service that makes certificates gets some back",
      each(lambda name, service: "cap_add" if "cap_add" in service and name != "certificates" else None))
check("every root file system is read-only", each(flag("read_only", True)))
check("every service has a bound of memory", each(lambda _, service: None if "mem_limit" in service else "none"))
check("every image has a version", each(image))
check("nobody starts before whom it needs is healthy", each(order))
check("what is mounted is there", each(mounts))
check("what is named inside the image is there", files_that_are_named)
check("no port of the host is taken twice", ports)
check("there are the profiles that README names", profiles)
check("the first brokers are services, and the proxy takes them", seed)
sum_up()
