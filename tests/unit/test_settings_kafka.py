"""Topics are replicated as production needs it, unless the settings say otherwise."""

import pytest
from pydantic import ValidationError

from operations.settings import KafkaSettings
from schemas.topics import Replication


def test_by_default_a_lost_broker_loses_nothing_and_stops_nothing():
    assert KafkaSettings(bootstrap="b").replication == Replication(factor=3, in_sync=2)


def test_more_replicas_in_sync_than_there_are_is_refused():
    with pytest.raises(ValidationError, match="no record could be written"):
        KafkaSettings(bootstrap="b", replication_factor=1)
