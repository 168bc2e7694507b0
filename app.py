"""The router: page configuration and navigation, nothing else."""

from ui import router
from ui.page import sentences

router.configure()
page = router.navigation()
with sentences():
    page.run()
