import sys,os,time
from tqdm import tqdm
import tqdm as T
print(T.__version__, os.get_terminal_size(2))
b=tqdm(range(5), disable=None); print(b.disable,b.ncols,b.dynamic_ncols, b.mininterval, b.pos, b.gui)
b.refresh(); b.fp.write("HELLO\n"); b.fp.flush(); print(repr(str(b)))
