"""What the official client makes of JSON: which of its models a method gives, and an object of it."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, Final

from kubex_stream.compat.kubernetes.official import client as official

__all__ = ("deserializer", "has_parameter", "model_name")

_LIST: Final = "List"
_LABELS: Final = (":rtype:", ":return:")


def has_parameter(function: Callable[..., Any], name: str) -> bool:
    """Whether a method takes a parameter; older packages say so in their documentation only."""
    documented = re.search(rf":param (\w+ )?{re.escape(name)}:", _documentation(function))
    return name in inspect.signature(function).parameters or documented is not None


def _documentation(function: Callable[..., Any]) -> str:
    return inspect.getdoc(function) or ""


def model_name(function: Callable[..., Any]) -> str:
    """The name of the model of the objects that a method lists; empty where it does not say."""
    given = inspect.signature(function).return_annotation
    name = given.__name__ if inspect.isclass(given) else given if isinstance(given, str) else ""
    if given is inspect.Signature.empty or name == "Any":
        name = ""
    if not name:
        for line in _documentation(function).splitlines():
            label = next((each for each in _LABELS if line.strip().startswith(each)), None)
            if label is not None:
                name = line.strip().removeprefix(label).strip().split()[0]
                break
    return name.removesuffix(_LIST)


def deserializer(api_client: Any, model: object) -> Callable[[Mapping[str, Any]], Any]:
    """Makes objects of a model.

    :param model: a class, or a name, of the official client's models; whatever it does not know is left a dict
    """
    kind = getattr(official.models, model, None) if isinstance(model, str) else model
    if inspect.isclass(kind) and hasattr(kind, "from_dict"):
        make: Callable[[Mapping[str, Any]], Any] = kind.from_dict
        return make
    if kind is None or not hasattr(kind, "openapi_types"):
        return lambda item: item
    return lambda item: api_client.deserialize(SimpleNamespace(data=json.dumps(item)), kind)  # packages before 36
