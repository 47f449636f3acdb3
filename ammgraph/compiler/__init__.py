"""Spec -> Plan: one rule, one stage after another; each tells all its problems."""
