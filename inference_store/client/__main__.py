import sys

from inference_store.client.command import main

sys.exit(main())
