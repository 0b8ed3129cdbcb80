"""The one model that is served, and the names by which clients may ask for it."""

from __future__ import annotations

import os
import time
from typing import Any

from whisper_npu.apps.server.refusals import FieldError
from whisper_npu.checkpoint.names import HUB_IDS, main_name
from whisper_npu.errors import shown

OPENAI_NAME = "whisper-1"  # OpenAI's name for Whisper, which many clients have written into them


class Served:
    """id: a folder's last part; any other name as it is. aliases: other names of the same weights."""

    def __init__(self, name: str) -> None:
        """name: as `Checkpoint.name`."""
        self.id = os.path.basename(os.path.abspath(name)) if os.path.isdir(name) else name
        main = main_name(self.id)
        repository = HUB_IDS.get(main)
        same = [known for known, hub_id in HUB_IDS.items() if hub_id == repository]
        openai = [f"openai/whisper-{known}" for known in same if not known.startswith("distil")]
        of_hub = [repository] if repository else []
        self.aliases = tuple(dict.fromkeys([OPENAI_NAME, *same, *of_hub, *openai]))
        self._names = {known.lower() for known in (self.id, *self.aliases)}
        self._since = int(time.time())

    def check(self, name: str | None) -> None:
        """Raises FieldError for the name of another model. None: whatever is served."""
        if name is not None and name.lower() not in self._names:
            raise FieldError(
                "model",
                f"the model '{shown(name[:100])}' is not served here; {self.id} is, also as {OPENAI_NAME}",
                status=404,
                code="model_not_found",
            )

    def described(self, name: str) -> dict[str, Any]:
        """As OpenAI describes a model. Raises FieldError."""
        self.check(name)
        return {"id": name, "object": "model", "created": self._since, "owned_by": "whisper-npu"}

    def listed(self) -> dict[str, Any]:
        names = dict.fromkeys([self.id, OPENAI_NAME])
        return {"object": "list", "data": [self.described(name) for name in names]}
