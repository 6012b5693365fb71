"""Sensors other people make, by family."""

from __future__ import annotations

from talaria_bridge.vendors import capture2go, dot, metawear, nano33, witmotion, xbus, ximu3
from talaria_bridge.vendors.family import Family

FAMILIES: dict[str, Family] = {
    module.FAMILY.name: module.FAMILY
    for module in (dot, witmotion, ximu3, capture2go, metawear, xbus, nano33)
}
"""Every family, by the name specs use. Our own frames are not here: they are no vendor's."""
