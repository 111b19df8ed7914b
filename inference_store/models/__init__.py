"""The nouns, one a file."""

from inference_store.models.access import Membership, Project, Role, Token, User
from inference_store.models.audit import AuditCheckpoint, AuditedInferences, AuditMark, AuditRecord, AuditSeal
from inference_store.models.blob import Blob
from inference_store.models.catalogue import Catalogue, CatalogueCount
from inference_store.models.embedding import Embedding, UnitEmbedding
from inference_store.models.entry import Entry
from inference_store.models.export import Export, ExportBatch
from inference_store.models.identity import Identity
from inference_store.models.inference import Inference
from inference_store.models.job import Job, JobState
from inference_store.models.leftover import Leftover
from inference_store.models.metadata_key import MetadataKey
from inference_store.models.query_vector import QueryVector
from inference_store.models.registered_model import RegisteredModel
from inference_store.models.retention import RetentionPolicy, RetentionPreviewItem, RetentionTask
from inference_store.models.saved_view import SavedView
from inference_store.models.search_slot import SearchSlot
from inference_store.models.segment import Segment, SegmentChange, SegmentColumn
from inference_store.models.soft_deletion import SoftDeletedInference
from inference_store.models.vector_codes import VectorCodes
from inference_store.models.vector_index import VectorIndex

__all__ = [
    "AuditCheckpoint",
    "AuditMark",
    "AuditRecord",
    "AuditSeal",
    "AuditedInferences",
    "Blob",
    "Catalogue",
    "CatalogueCount",
    "Embedding",
    "Entry",
    "Export",
    "ExportBatch",
    "Identity",
    "Inference",
    "Job",
    "JobState",
    "Leftover",
    "Membership",
    "MetadataKey",
    "Project",
    "QueryVector",
    "RegisteredModel",
    "RetentionPolicy",
    "RetentionPreviewItem",
    "RetentionTask",
    "Role",
    "SavedView",
    "SearchSlot",
    "Segment",
    "SegmentChange",
    "SegmentColumn",
    "SoftDeletedInference",
    "Token",
    "UnitEmbedding",
    "User",
    "VectorCodes",
    "VectorIndex",
]
