"""`launcher schema`: the recipe's JSON Schema, for editors that complete and check while one types."""

import json

from launcher.core.recipe import Recipe


def show_schema() -> None:
    """Print the JSON Schema of recipes."""
    schema = Recipe.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "launcher recipe"
    # Read before the types are, so it is no field of theirs.
    schema["properties"]["extends"] = {"type": "string", "description": "A recipe file that this one lies over."}
    schema["anyOf"] = [{"required": schema.pop("required")}, {"required": ["extends"]}]
    print(json.dumps(schema, indent=1))
