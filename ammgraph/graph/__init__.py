"""The compiler: Spec -> Plan, without torch."""
