"""The nouns, one a file."""

from inference_store.models.access import Membership, Project, Role, Token, User
from inference_store.models.blob import Blob
from inference_store.models.embedding import Embedding
from inference_store.models.entry import Entry
from inference_store.models.inference import Inference
from inference_store.models.metadata_key import MetadataKey
from inference_store.models.registered_model import RegisteredModel

__all__ = [
    "Blob",
    "Embedding",
    "Entry",
    "Inference",
    "Membership",
    "MetadataKey",
    "Project",
    "RegisteredModel",
    "Role",
    "Token",
    "User",
]
