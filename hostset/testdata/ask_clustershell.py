"""Answers for each line {"expr": ...} what ClusterShell makes of it. The groups are in the first line."""
import json
import sys

from ClusterShell.NodeSet import NodeSet
from ClusterShell.NodeUtils import GroupResolver, GroupSource

lines = (json.loads(line) for line in sys.stdin)
first = next(lines)
sources = [GroupSource(name, groups, groups.get("all")) for name, groups in first["sources"].items()]
resolver = GroupResolver(sources[0])
for source in sources[1:]:
    resolver.add_source(source)
for line in lines:
    try:
        nodes = NodeSet(line["expr"], resolver=resolver)
        answer = {"names": list(nodes), "fold": str(nodes), "count": len(nodes)}
    except Exception as exc:
        answer = {"error": "%s: %s" % (type(exc).__name__, exc)}
    print(json.dumps(answer))
