"""How deep lists and objects of JSON are within each other: databases and browsers have limits."""


def json_depth(value: object) -> int:
    """Return the depth of a JSON value: 1 for a list of numbers, 0 for a number. Without recursion."""
    depth, level = 0, [value]
    while level := [each for each in level if isinstance(each, dict | list | tuple)]:
        level = [inner for outer in level for inner in (outer.values() if isinstance(outer, dict) else outer)]
        depth += 1
    return depth
