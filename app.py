"""The router: page configuration, the door, and navigation, nothing else."""

from ui import people, router
from ui.page import sentences

router.configure()
page = router.navigation()
if people.has_come_in():
    with sentences():
        page.run()
else:
    people.door()
