"""Galaxymill: from a sky survey to a catalogue of galaxy morphology.

Targets: all (the default: every release, evaluation, space, search, interest, explorer and so on),
release, evaluate, predictions, features, searches, interests, rounds, explorers, images, plan.
"""

from snakemake.utils import min_version

min_version("9.19")
BASE = str(workflow.current_basedir)

# The demo runs when no config is given. Snakemake would otherwise merge the two.
if not config and not workflow.config_settings.configfiles:

    configfile: f"{BASE}/config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/inputs.smk"
include: "workflow/rules/inputs_later.smk"
include: "workflow/rules/downloads.smk"
include: "workflow/rules/survey.smk"
include: "workflow/rules/labels.smk"
include: "workflow/rules/learn.smk"
include: "workflow/rules/find.smk"
include: "workflow/rules/search.smk"
include: "workflow/rules/probes.smk"
include: "workflow/rules/interest.smk"
include: "workflow/rules/release.smk"
include: "workflow/rules/explore.smk"
include: "workflow/rules/rounds.smk"


localrules:
    all,
    release,
    evaluate,
    plan,
    images,


onerror:
    print("galaxymill: to see what failed, and why: galaxymill status", file=sys.stderr)


rule all:
    """Make every release and every evaluation of the config."""
    default_target: True
    input:
        everything,
        # Apart, as these are not known before the partitions are.
        every_feature,


rule release:
    """Merge the release catalogues."""
    input:
        RELEASES,


rule evaluate:
    """Compare every model with the volunteers of its test split."""
    input:
        EVALUATIONS,


rule images:
    """Fetch and render every survey, whether or not a release wants it."""
    input:
        IMAGES,


rule plan:
    """Count partitions, requests, bytes and hours, and check all tables, before anything is asked."""
    input:
        PLANS,
        VOTES,
