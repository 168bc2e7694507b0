import sys,os
from tqdm import tqdm
import time
print(sys.stderr.isatty(), os.isatty(2))
for i in tqdm(range(5), disable=None): time.sleep(.2)
from deepmusician.progress import Note
with Note("x") as n:
    n(1.0); time.sleep(.3); n(2.0); time.sleep(.3)
