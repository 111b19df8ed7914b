"""The models of the demo, one for every task type, in the order in which they are shown."""

from inference_store.demo import coins, digits, faces, image_embedding, segmentation, sentences, sky

MODELS = (
    digits.MODEL,
    faces.MODEL,
    sky.MODEL,
    coins.MODEL,
    segmentation.MODEL,
    image_embedding.MODEL,
    sentences.MODEL,
)
