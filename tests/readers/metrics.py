"""Reads metrics from its standard input with the parser of the PyPI package `prometheus_client` and prints each sample as
one line of JSON: family, type, help, name, labels, value. Fails where it is not the text format of Prometheus."""

import json
import sys

from prometheus_client.parser import text_string_to_metric_families

for family in text_string_to_metric_families(sys.stdin.read()):
    for sample in family.samples:
        print(json.dumps([family.name, family.type, family.documentation, sample.name, sample.labels, sample.value]))
