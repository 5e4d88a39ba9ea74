#!/usr/bin/env bash
# hydra-core 1.3.8: a config of a group that begins with `# @package _global_` and whose defaults list names its own
# group by the absolute path (`- /db: base`). Chosen in the primary config (`- db: mine`) it ends in a clear message
# (ConfigCompositionException, "Multiple values for db"). Chosen on the command line (`db=mine`) the same file ends in
# Python's RecursionError, which names neither file nor group: the choice applies to the entry as well, so that the
# config includes itself. With a relative entry (`- base`) both are what was meant.
# Met when a preset of a model was written as another file of its group.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q hydra-core==1.3.8
mkdir -p "$folder/conf/db"
cd "$folder"
printf '# @package _global_\ndb:\n  port: 1\n' >conf/db/base.yaml
printf '# @package _global_\ndefaults:\n  - /db: base\n  - _self_\ndb:\n  user: 2\n' >conf/db/absolute.yaml
printf '# @package _global_\ndefaults:\n  - base\n  - _self_\ndb:\n  user: 2\n' >conf/db/relative.yaml
printf 'defaults:\n  - db: base\n' >conf/config.yaml
printf 'defaults:\n  - db: absolute\n' >conf/chosen.yaml
cat >compose.py <<'PY'
from pathlib import Path

import hydra


def outcome(config, *overrides):
    with hydra.initialize_config_dir(str(Path("conf").resolve()), version_base="1.3"):
        try:
            return dict(hydra.compose(config, overrides=list(overrides)).db)
        except Exception as error:
            return type(error).__name__


seen = [outcome("config", "db=absolute"), outcome("chosen"), outcome("config", "db=relative")]
print(seen)
assert seen == ["RecursionError", "ConfigCompositionException", {"port": 1, "user": 2}], seen
PY
"$folder/venv/bin/python" compose.py
echo "as described"
