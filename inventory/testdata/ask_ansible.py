"""Writes for each path on standard input, one a line, what Ansible makes of the inventory there."""
import json
import os
import sys

os.environ["ANSIBLE_INVENTORY_ENABLED"] = "script,yaml,ini"
os.environ["ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED"] = "1"
os.environ["ANSIBLE_LOCALHOST_WARNING"] = "0"

from ansible.cli.inventory import INTERNAL_VARS
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.manager import VariableManager

stdout = os.dup(1)
os.dup2(2, 1)  # warnings
out = os.fdopen(stdout, "w")
for line in sys.stdin:
    try:
        loader = DataLoader()
        inventory = InventoryManager(loader=loader, sources=json.loads(line))
        variables = VariableManager(loader=loader, inventory=inventory)
        answer = {
            "groups": {name: sorted(h.name for h in g.get_hosts()) for name, g in inventory.groups.items()},
            "vars": {},
        }
        for name, host in inventory.hosts.items():
            found = variables.get_vars(host=host, include_hostvars=False, stage="all")
            answer["vars"][name] = {k: v for k, v in found.items() if k not in INTERNAL_VARS}
        text = json.dumps(answer, default=lambda v: sorted(v) if isinstance(v, set) else str(v))
    except Exception as exc:
        text = json.dumps({"error": "%s: %s" % (type(exc).__name__, exc)})
    out.write(text + "\n")
