"""What a RayJob may look like, as far as our example uses it, in JSON Schema.

Written by hand after KubeRay's types (ray-project/kuberay: ray-operator/apis/ray/v1/rayjob_types.go and
raycluster_types.go, from which its CRD ray.io_rayjobs.yaml is generated) and the pods of Kubernetes' API reference:
names, types and what is required, of these fields and their neighbours that one might mistake for them. Fields that are
not here are refused, so that a wrong name in the example cannot pass.
"""

from typing import Any


def closed(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    """Return the schema of an object with these fields and no others."""
    return {"type": "object", "additionalProperties": False, "required": list(required),
            "properties": {name.rstrip("_"): schema for name, schema in properties.items()}}


def listed(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


TEXT, YES, WHOLE = {"type": "string"}, {"type": "boolean"}, {"type": "integer", "minimum": 0}
WORDS = {"type": "object", "additionalProperties": TEXT}
QUANTITY = {"anyOf": [{"type": "integer"},
                      {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"}]}
AMOUNTS = {"type": "object", "additionalProperties": QUANTITY}
SELECTED = closed(("name", "key"), name=TEXT, key=TEXT, optional=YES)
VARIABLE = closed(("name",), name=TEXT, value=TEXT, valueFrom=closed(
    secretKeyRef=SELECTED, configMapKeyRef=SELECTED, fieldRef=closed(("fieldPath",), apiVersion=TEXT, fieldPath=TEXT)))
HOOK = closed(exec=closed(command=listed(TEXT)))
PORT = closed(("containerPort",), containerPort={"type": "integer", "minimum": 1, "maximum": 65535}, name=TEXT,
              protocol={"enum": ["TCP", "UDP", "SCTP"]})
CONTAINER = closed(
    ("name", "image"), name=TEXT, image=TEXT, imagePullPolicy={"enum": ["Always", "IfNotPresent", "Never"]},
    command=listed(TEXT), args=listed(TEXT), env=listed(VARIABLE), ports=listed(PORT),
    resources=closed(requests=AMOUNTS, limits=AMOUNTS), lifecycle=closed(preStop=HOOK, postStart=HOOK),
    volumeMounts=listed(closed(("name", "mountPath"), name=TEXT, mountPath=TEXT, readOnly=YES, subPath=TEXT)))
TOLERATION = closed(key=TEXT, operator={"enum": ["Exists", "Equal"]}, value=TEXT,
                    effect={"enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]}, tolerationSeconds=WHOLE)
VOLUME = closed(("name",), name=TEXT, configMap=closed(("name",), name=TEXT, optional=YES),
                emptyDir=closed(medium={"enum": ["", "Memory"]}, sizeLimit=QUANTITY))
POD = closed(
    ("containers",), containers={**listed(CONTAINER), "minItems": 1}, serviceAccountName=TEXT, nodeSelector=WORDS,
    tolerations=listed(TOLERATION), terminationGracePeriodSeconds=WHOLE, volumes=listed(VOLUME),
    imagePullSecrets=listed(closed(name=TEXT)), restartPolicy={"enum": ["Always", "OnFailure", "Never"]})
TEMPLATE = closed(("spec",), metadata=closed(labels=WORDS, annotations=WORDS), spec=POD)
HEAD = closed(("template",), rayStartParams=WORDS, template=TEMPLATE, enableIngress=YES,
              serviceType={"enum": ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"]})
WORKERS = closed(("groupName", "minReplicas", "maxReplicas", "template"), groupName=TEXT, replicas=WHOLE,
                 minReplicas=WHOLE, maxReplicas=WHOLE, numOfHosts=WHOLE, rayStartParams=WORDS, template=TEMPLATE)
CLUSTER = closed(("headGroupSpec",), headGroupSpec=HEAD, workerGroupSpecs=listed(WORKERS), rayVersion=TEXT,
                 enableInTreeAutoscaling=YES)
RAYJOB = closed(
    ("apiVersion", "kind", "metadata", "spec"), apiVersion={"const": "ray.io/v1"}, kind={"const": "RayJob"},
    metadata=closed(("name",), name=TEXT, namespace=TEXT, labels=WORDS, annotations=WORDS),
    spec=closed(
        entrypoint=TEXT, jobId=TEXT, metadata=WORDS, runtimeEnvYAML=TEXT, rayClusterSpec=CLUSTER,
        submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]}, backoffLimit=WHOLE,
        submitterConfig=closed(backoffLimit=WHOLE), activeDeadlineSeconds=WHOLE, shutdownAfterJobFinishes=YES,
        ttlSecondsAfterFinished=WHOLE, suspend=YES, clusterSelector=WORDS, entrypointNumCpus={"type": "number"},
        entrypointNumGpus={"type": "number"}, entrypointResources=TEXT))
