"""What settings/kubernetes/mqtt-proxy.yaml promises, and that Kubernetes and the proxy understand it."""

import copy
import pathlib
import tempfile

import kubernetes_validate
import tomllib
from checks import check, documents, sum_up, version
from proxy import effective_settings, running

MANIFEST = "settings/kubernetes/mqtt-proxy.yaml"
# From the oldest release that has all that the manifest says to the newest that is known here.
RELEASES = ["1.27", "1.30", "1.33", "1.37"]
OBJECTS = documents(MANIFEST)


def the(kind, name="mqtt-proxy"):
    found = [item for item in OBJECTS if (item["kind"], item["metadata"]["name"]) == (kind, name)]
    assert len(found) == 1, f"{len(found)} {kind} {name}"
    return found[0]


STATEFUL_SET = the("StatefulSet")["spec"]
POD = STATEFUL_SET["template"]["spec"]
CONTAINER = POD["containers"][0]
CONFIG = the("ConfigMap")["data"]


def invalid(items, release):
    problems = []
    for item in items:
        try:
            kubernetes_validate.validate(item, release, strict=True)
        except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
            problems.append(f"{item['kind']} {item['metadata']['name']}: {error.message}")
    return problems


def blunders():
    """The check itself is checked: what is wrong must be found."""
    unknown = copy.deepcopy(the("StatefulSet"))
    unknown["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    text = copy.deepcopy(the("StatefulSet"))
    text["spec"]["replicas"] = "one"
    return [f"{what} is not found" for what, item in [("an unknown field", unknown), ("a wrong type", text)]
            if not invalid([item], RELEASES[-1])]


def differences(found, wanted):
    return [f"{key} is {found.get(key)!r}, not {value!r}" for key, value in wanted.items() if found.get(key) != value]


def namespaces():
    enforced = the("Namespace")["metadata"]["labels"].get("pod-security.kubernetes.io/enforce")
    problems = [] if enforced == "restricted" else [f"pod security is {enforced}"]
    others = [item for item in OBJECTS if item["kind"] != "Namespace" and item["metadata"].get("namespace") != "mqtt-proxy"]
    return problems + [f"{item['kind']} is elsewhere" for item in others]


def selectors():
    labels = STATEFUL_SET["template"]["metadata"]["labels"]
    chosen = {"StatefulSet": STATEFUL_SET["selector"]["matchLabels"],
              "PodDisruptionBudget": the("PodDisruptionBudget")["spec"]["selector"]["matchLabels"]}
    chosen |= {item["metadata"]["name"]: item["spec"]["selector"] for item in OBJECTS if item["kind"] == "Service"}
    return [f"{name} does not choose the pod" for name, selector in chosen.items()
            if not selector or not selector.items() <= labels.items()]


def ports():
    names = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    problems = [] if names == {"mqtt": 1883, "web": 3000} else [f"the container has {names}"]
    for item in OBJECTS:
        if item["kind"] == "Service":
            problems += [f"{item['metadata']['name']}: no port {port['targetPort']}"
                         for port in item["spec"]["ports"] if port["targetPort"] not in names]
    web = the("Service", "mqtt-proxy-web")
    if web["spec"]["type"] != "ClusterIP":
        problems.append("the REST API is shown outside the cluster")
    if web["metadata"]["annotations"]["prometheus.io/port"] != str(names.get("web")):
        problems.append("Prometheus is sent to another port")
    if STATEFUL_SET["serviceName"] not in {item["metadata"]["name"] for item in OBJECTS if item["kind"] == "Service"}:
        problems.append(f"there is no service {STATEFUL_SET['serviceName']}")
    return problems


def probes():
    wanted = {"startupProbe": "/ready", "livenessProbe": "/health", "readinessProbe": "/ready"}
    found = {name: CONTAINER.get(name, {}).get("httpGet") for name in wanted}
    return differences(found, {name: {"path": path, "port": "web"} for name, path in wanted.items()})


def restraints():
    pod = {"runAsNonRoot": True, "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000,
           "seccompProfile": {"type": "RuntimeDefault"}}
    container = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    problems = differences(POD["securityContext"], pod) + differences(CONTAINER["securityContext"], container)
    problems += differences(POD, {"automountServiceAccountToken": False})
    return problems if "memory" in CONTAINER["resources"]["limits"] else problems + ["no bound of memory"]


def budget():
    problems = differences(the("PodDisruptionBudget")["spec"], {"maxUnavailable": 0})
    return problems + differences(STATEFUL_SET, {"replicas": 1})


def volumes():
    mounts = {mount["name"]: mount for mount in CONTAINER["volumeMounts"]}
    claims = {claim["metadata"]["name"]: claim["spec"] for claim in STATEFUL_SET["volumeClaimTemplates"]}
    known = {*claims, *(volume["name"] for volume in POD["volumes"])}
    problems = [f"{name} is mounted and is no volume, or a volume and not mounted" for name in known ^ set(mounts)]
    # The image works in /app, and the default of data.dir is "data".
    problems += differences(mounts["data"], {"mountPath": "/app/data"})
    retention = EFFECTIVE["log"]["retention_bytes_max"] + EFFECTIVE["log"]["segment_bytes"]
    storage = claims["data"]["resources"]["requests"]["storage"]
    assert storage.endswith("Gi"), storage
    if int(storage[:-2]) * 2**30 < 1.25 * retention:
        problems.append(f"{storage} is too little for a log of {retention} bytes and what else is kept")
    return problems


def secret():
    problems = [] if the("Secret")["stringData"].get("MQTT_PROXY_SECRET") else ["it has no MQTT_PROXY_SECRET"]
    sources = [source["secretRef"]["name"] for source in CONTAINER["envFrom"]]
    return problems if sources == ["mqtt-proxy"] else problems + [f"the pod reads {sources}"]


def image():
    wanted = f"mqtt-proxy:{version()}"
    return [] if CONTAINER["image"] == wanted else [f"it is {CONTAINER['image']}, not {wanted}"]


def placed(text):
    """A path of the pod as it is below the directory that stands for the mounted ConfigMap here."""
    return text.replace("/etc/mqtt-proxy", str(MOUNTED))


def arguments():
    command, *flags = CONTAINER["args"]
    assert command == "serve", command
    return [placed(flag) for flag in flags]


def environment():
    plain = {variable["name"]: placed(variable["value"]) for variable in CONTAINER["env"]}
    return plain | the("Secret")["stringData"]


def settings():
    """Each setting of the ConfigMap is in force."""
    text, complaint = effective_settings(arguments(), environment())
    if complaint:
        return {}, [complaint]
    effective = tomllib.loads(text)
    problems = []
    for section, values in tomllib.loads(CONFIG["settings.toml"]).items():
        problems += differences(effective[section], values)
    drain = effective["server"]["drain_timeout_secs"]
    if POD["terminationGracePeriodSeconds"] < 2 * drain:
        problems.append(f"the pod is killed before it has drained for {drain} s")
    return effective, problems


def in_service():
    """The proxy starts as the pod does, is what the probes ask for, has the first brokers, and ends in order."""
    with running(arguments(), environment()) as proxy:
        problems = [f"{path} answers {status}" for path in ("/health", "/ready") if (status := proxy.ask(path)[0]) != 200]
        status, answer = proxy.ask("/api/brokers")
        brokers = answer["brokers"] if isinstance(answer, dict) else answer
        if [broker["name"] for broker in brokers] != ["site"]:
            problems.append(f"/api/brokers: {status} {answer}")
        code = proxy.stop()
        return problems if code == 0 else problems + [f"it ended with code {code}"]


with tempfile.TemporaryDirectory() as scratch:
    MOUNTED = pathlib.Path(scratch)
    for file_name, content in CONFIG.items():
        (MOUNTED / file_name).write_text(content)
    for number in RELEASES:
        check(f"Kubernetes {number} knows every object and field", invalid(OBJECTS, number))
    check("what is wrong would be found", blunders)
    EFFECTIVE, wrong = settings()
    check("the settings are in force", wrong)
    check("everything is in a namespace with restricted pods", namespaces)
    check("services, budget and set choose the pod", selectors)
    check("services lead to its ports, the REST API inside the cluster only", ports)
    check("probes ask /health and /ready", probes)
    check("the pod may do nothing that it need not", restraints)
    check("there is one, and nothing moves it unasked", budget)
    check("volumes are mounted, and there is room for the log", volumes)
    check("the secret reaches it", secret)
    check("the image is that of this version", image)
    check("the proxy starts with all that and takes the first brokers", in_service)
sum_up()
