"""The systems that a recipe asks for: our models at their rates, peers, commands, anchors."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from audiocodec.errors import UsageError
from audiocodec.evaluate.anchors import Original
from audiocodec.evaluate.ours import Vpc
from audiocodec.evaluate.peers import command_systems, peer_systems
from audiocodec.evaluate.recipe import EvaluationRecipe, ModelEntry
from audiocodec.evaluate.results import ORIGINAL, Role
from audiocodec.evaluate.systems import System


@dataclass
class Wanted:
    """Systems with their roles, the peers that cannot run here with reasons, and the models' names."""

    systems: list[System] = field(default_factory=list)
    roles: list[Role] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    models: list[dict[str, str]] = field(default_factory=list)

    def add(self, role: Role, systems: list[System], absent: dict[str, str] | None = None) -> None:
        """Take over systems of one role, each once.

        Raises:
            UsageError: two that are not the same have one name: results could not tell them apart.
        """
        known = {_label(system): system for system in self.systems}
        for system in systems:
            label = _label(system)
            if label == ORIGINAL:
                raise UsageError(f"'{ORIGINAL}' is the name of the recordings themselves; give this codec another one")
            if label not in known:
                known[label] = system
                self.systems.append(system)
                self.roles.append(role)
            elif system.identity() != known[label].identity():
                raise UsageError(f"two different systems are called '{label}'; give one another name or setting")
        self.absent |= absent or {}


def _label(system: System) -> str:
    return f"{system.codec} {system.setting}".strip()


def gather(recipe: EvaluationRecipe) -> Wanted:
    """Everything that a recipe names.

    Raises:
        UsageError: an unknown peer, a rate that a model or peer does not have, or nothing to evaluate.
        ModelError: no such model.
    """
    wanted = Wanted()
    for entry in recipe.models:
        systems, about = _ours(entry, wanted.models)
        wanted.add("ours", systems)
        if about not in wanted.models:
            wanted.models.append(about)
    lyra = Path(recipe.lyra) if recipe.lyra else None
    for systems, absent in (peer_systems(recipe.peers, lyra=lyra), command_systems(recipe.commands)):
        mono = [] if recipe.channels == "downmix" else [one for one in systems if not getattr(one, "stereo", False)]
        absent |= {_label(one): "it codes one channel, and these recordings are coded in stereo" for one in mono}
        wanted.add("peer", [one for one in systems if one not in mono], absent)
    wanted.add("anchor", [Original() for _ in recipe.anchors])
    if not wanted.systems:
        reasons = "; ".join(wanted.absent.values()) or "name a model, or a peer such as opus"
        raise UsageError(f"nothing to evaluate: {reasons}")
    return wanted


def _ours(entry: ModelEntry, others: list[dict[str, str]]) -> tuple[list[System], dict[str, str]]:
    from audiocodec.codec import load

    codec = load(entry.model)
    name, fingerprint = str(codec.facts.name), codec.fingerprint.hex()
    # A model that was trained on keeps its name: beside another one of that name, its fingerprint tells them apart
    if any(other["name"] == name and other["fingerprint"] != fingerprint for other in others):
        name = f"{name} {fingerprint[:6]}"
    chosen = [codec.choose_rate(kbps, None) for kbps in entry.bitrates]
    chosen += [codec.choose_rate(None, levels) for levels in entry.levels]
    # Two bit rates can lead to the same setting: measured once.
    unique = {rate.base_levels: rate for rate in chosen or codec.rates}
    about = {"name": name, "fingerprint": fingerprint}
    return [Vpc(codec, unique[base], name) for base in sorted(unique)], about
