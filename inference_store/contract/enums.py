"""The reference's enumerations, and which inference actions a task type knows."""

from enum import Enum


class DeleteAction(str, Enum):
    """The selection of delete actions."""

    HARD = "hard"
    SOFT = "soft"


class EmbeddingDistanceMetric(str, Enum):
    """The selection of distance metrics supported by the inference store."""

    COSINE = "cosine"
    L2 = "l2"
    NEGATIVE_DOT_PRODUCT = "negative_dot_product"


class ExportFormat(str, Enum):
    """What an export can be; the first is the reference's."""

    ARCHIVE = "archive"
    COCO = "coco"
    YOLO = "yolo"
    PARQUET = "parquet"
    JSONL = "jsonl"
    CSV = "csv"


class InferenceAction(str, Enum):
    """The selection of inference actions relative to task types supported by the inference store."""

    DETECT = "detect"
    EMBED = "embed"
    PREDICT = "predict"
    PREDICT_PROBA = "predict_proba"


class MetadataFilterOperator(str, Enum):
    """The selection of metadata filter operators supported by the inference store."""

    EQUAL = "="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="
    IN = "in"
    LESS = "<"
    LESS_OR_EQUAL = "<="
    NOT_EQUAL = "!="


class MetadataFilterType(str, Enum):
    """The selection of metadata filter types supported by the inference store."""

    FLOAT = "float"
    INT = "int"
    JSON_FLOAT = "json.float"
    JSON_INT = "json.int"
    JSON_STRING = "json.string"
    STRING = "string"


class MetadataStatisticsType(str, Enum):
    """The selection of metadata statistics types supported by the inference store."""

    FLOAT = "float"
    INT = "int"
    STRING = "string"


class MetadataType(str, Enum):
    """The selection of metadata types supported by the inference store."""

    FLOAT = "float"
    INT = "int"
    JSON = "json"
    STRING = "string"


class PaginationEmbeddingSortField(str, Enum):
    """Defines the sort field options for embedding models."""

    CREATED_AT = "created_at"
    EMBEDDING_DISTANCE = "embedding_distance"


class PaginationGranularInferenceSortField(str, Enum):
    """Defines the sort field options for granular inferences."""

    CREATED_AT = "created_at"
    LABEL = "label"
    SCORE = "score"


class PaginationSortDirection(str, Enum):
    """Defines the sort direction options."""

    ASCENDING = "asc"
    DESCENDING = "desc"


class PaginationSortField(str, Enum):
    """Defines the sort field options."""

    CREATED_AT = "created_at"


class RetentionTaskState(str, Enum):
    """Defines the retention task state options."""

    COMPLETE = "complete"
    FAILED = "failed"
    PENDING = "pending"
    RUNNING = "running"
    SCHEDULED = "scheduled"
    STOPPED = "stopped"


class RetentionReason(str, Enum):
    """Why a retention task takes something: a record past its age, or the blob of a record that stays."""

    RECORD = "record"
    BLOB = "blob"


class TaskType(str, Enum):
    """The selection of task types supported by the inference store."""

    IMAGE_CLASSIFICATION = "Image Classification"
    IMAGE_EMBEDDING = "Image Embedding"
    IMAGE_SEGMENTATION = "Image Segmentation"
    OBJECT_DETECTION = "Object Detection"
    ORIENTED_OBJECT_DETECTION = "Oriented Object Detection"
    TEXT_EMBEDDING = "Text Embedding"


ACTIONS_OF_TASK: dict[TaskType, frozenset[InferenceAction]] = {
    TaskType.IMAGE_CLASSIFICATION: frozenset(
        {InferenceAction.PREDICT, InferenceAction.PREDICT_PROBA, InferenceAction.EMBED}
    ),
    TaskType.OBJECT_DETECTION: frozenset({InferenceAction.DETECT}),
    TaskType.ORIENTED_OBJECT_DETECTION: frozenset({InferenceAction.DETECT}),
    TaskType.IMAGE_SEGMENTATION: frozenset({InferenceAction.PREDICT, InferenceAction.PREDICT_PROBA}),
    TaskType.IMAGE_EMBEDDING: frozenset({InferenceAction.EMBED}),
    TaskType.TEXT_EMBEDDING: frozenset({InferenceAction.EMBED}),
}


class TokenScope(str, Enum):
    """What a token may be used for, within its user's roles."""

    READ = "read"
    WRITE = "write"
    DELETE = "delete"
    EXPORT = "export"
    MANAGE = "manage"


class AuditAction(str, Enum):
    """What an audit record says was done."""

    INFERENCE_CREATE = "inference.create"
    INFERENCE_DELETE = "inference.delete"
    INFERENCE_PROTECT = "inference.protect"
    INFERENCE_UNPROTECT = "inference.unprotect"
    INFERENCE_EXPIRE = "inference.expire"
    INFERENCE_RESTORE = "inference.restore"
    INFERENCE_PURGE = "inference.purge"
    INPUT_EXPIRE = "input.expire"
    METADATA_SET = "metadata.set"
    METADATA_DELETE = "metadata.delete"
    UPLOAD_CREATE = "upload.create"
    UPLOAD_WRITE = "upload.write"
    EXPORT_CREATE = "export.create"
    EXPORT_STOP = "export.stop"
    EXPORT_LINK = "export.link"
    EXPORT_DOWNLOAD = "export.download"
    EXPORT_EXPIRE = "export.expire"
    POLICY_CREATE = "retention_policy.create"
    POLICY_CHANGE = "retention_policy.change"
    POLICY_DELETE = "retention_policy.delete"
    TASK_CREATE = "retention_task.create"
    TASK_STOP = "retention_task.stop"
    TASK_FINISH = "retention_task.finish"
    VIEW_SAVE = "view.save"
    VIEW_CHANGE = "view.change"
    VIEW_DELETE = "view.delete"
    PROJECT_CREATE = "project.create"
    PROJECT_CHANGE = "project.change"
    PROJECT_DELETE = "project.delete"
    MODEL_CREATE = "model.create"
    MODEL_CHANGE = "model.change"
    MODEL_DELETE = "model.delete"
    MEMBER_SET = "member.set"
    MEMBER_REMOVE = "member.remove"
    TOKEN_CREATE = "token.create"  # noqa: S105  (no secret) # nosec B105
    TOKEN_CHANGE = "token.change"  # noqa: S105 # nosec B105
    TOKEN_DELETE = "token.delete"  # noqa: S105 # nosec B105
    USER_CREATE = "user.create"
    USER_CHANGE = "user.change"
    USER_DELETE = "user.delete"
    AUDIT_PRUNE = "audit.prune"
    LOGIN = "login"
    LOGOUT = "logout"
    LOGIN_FAIL = "login.fail"
    OTHER_CHANGE = "other.change"
