"""How heavy a person's parts are and where their masses lie: published shares of the whole.

Masses, centres of mass and radii of gyration are the means of men and women in table 4 of de Leva 1996
(Adjustments to Zatsiorsky-Seluyanov's segment inertia parameters, J Biomech 29:1223), with the centre as
a share of the length from the proximal joint (of the foot: from the heel), and the radius about the axis
from left to right. Lengths are shares of body height after Winter 2009, table 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Segment:
    """Shares of the body mass and, for the last two, of the segment's own length."""

    mass: float
    centre: float
    gyration: float


THIGH = Segment(mass=0.1447, centre=0.3854, gyration=0.347)
SHANK = Segment(mass=0.0457, centre=0.4418, gyration=0.258)
FOOT = Segment(mass=0.0133, centre=0.4215, gyration=0.262)

PELVIS_MASS = 0.1182
TORSO_MASS = 1.0 - PELVIS_MASS - 2.0 * (THIGH.mass + SHANK.mass + FOOT.mass)
"""Trunk above the pelvis, head and both arms: they move with the chest, roughly."""
MASSES = {
    "torso": TORSO_MASS,
    "pelvis": PELVIS_MASS,
    **{f"femur_{side}": THIGH.mass for side in "rl"},
    **{f"tibia_{side}": SHANK.mass for side in "rl"},
    **{f"calcn_{side}": FOOT.mass for side in "rl"},
}
"""Shares of the body mass by the slot of the sensor that moves with it; their sum is 1."""

THIGH_LENGTH, SHANK_LENGTH, ANKLE_HEIGHT, FOOT_LENGTH = 0.245, 0.246, 0.039, 0.152
"""Shares of body height: hip to knee, knee to ankle, ankle to sole, heel to toe tip."""
ANKLE_AHEAD, BALL_AHEAD = 0.25, 0.72
"""Shares of the foot's length from the heel: where the ankle stands, and where the toes bend."""
