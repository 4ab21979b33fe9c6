import dataclasses

import pytest

from hotline_golden.tracker.policies import POLICIES as GOLDEN_POLICIES
from hotline_rtl.config import FROZEN, POLICY_NAMES, POLICY_TRAITS, PRESETS, AcceleratorConfig, preset
from hotline_rtl.tracker.policies import POLICIES


def test_presets_are_what_the_design_asks_for():
    assert PRESETS["ecp5"].tracker_entries >= 16 << 10 and PRESETS["ecp5"].lanes >= 4
    alveo = PRESETS["alveo"]
    assert (alveo.lanes, alveo.bus_bits) == (16, 512) and alveo.tracker_entries >= 512 << 10


@pytest.mark.parametrize(
    "change, message",
    [
        ({"lanes": 3}, "lanes must be 1, 2, 4, 8 or 16, not 3"),
        ({"bus_bits": 96}, "bus_bits must be 64, 128, 256 or 512, not 96"),
        ({"tracker_sets": 100}, "tracker_sets must be a power of two"),
        ({"outstanding_rows": 1025}, "outstanding_rows must be 1 to 1024, not 1025"),
        ({"max_row_bytes": 1028}, "max_row_bytes"),
        ({"policy": "lru"}, "policy must be one of srrip, frequency, sample_aware"),
        ({"working_rows": 48}, "working_rows must be a power of two"),
        ({"host_axcache": 4}, "host_axcache must be 0 to 3, 6, 7, 10, 11, 14 or 15, not 4"),
        ({"device_axprot": 8}, "device_axprot must be 0 to 7, not 8"),
        ({"max_record_words": 8, "bus_bits": 512}, "max_record_words"),
    ],
)
def test_impossible_sizes_are_refused_by_name_and_value(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(AcceleratorConfig(), **change)


def test_types_are_checked():
    with pytest.raises(TypeError, match="lanes must be int, not '2'"):
        AcceleratorConfig(lanes="2")


def test_settings_apply_together_and_name_what_is_wrong():
    config = preset("tiny").with_settings(["lanes=4", "bus_bits=0x80", "policy=srrip"])
    assert (config.lanes, config.bus_bits) == (4, 128)
    for setting, message in (
        ("lane=4", "name=value"),
        ("lanes", "name=value"),
        ("lanes=four", "not a whole number"),
    ):
        with pytest.raises(ValueError, match=message):
            preset("tiny").with_settings([setting])
    with pytest.raises(ValueError, match="unknown preset 'huge'"):
        preset("huge")


def test_attributes_of_the_ports_are_in_the_name_only_when_they_are_chosen():
    frozen = preset("ecp5").with_settings(FROZEN)
    assert frozen.digest() == "f8255b4f9d48", "as before there were any"
    names = {
        preset("ecp5").with_settings([s]).digest() for s in ("host_axcache=15", "device_axprot=2", "host_axprot=0")
    }
    assert len(names) == 3 and preset("ecp5").digest() in names


def test_digest_names_a_configuration():
    assert preset("tiny").digest() == AcceleratorConfig().digest() != preset("ecp5").digest()


def test_the_policies_have_the_names_that_the_configuration_takes():
    assert tuple(POLICIES) == POLICY_NAMES


def test_sizes_depend_on_the_policies_that_golden_has():
    golden = {name: (p.bits, p.sketch, p.scores_samples) for name, p in GOLDEN_POLICIES.items()}
    assert {name: (t.state_bits, t.sketch, t.scores_samples) for name, t in POLICY_TRAITS.items()} == golden
